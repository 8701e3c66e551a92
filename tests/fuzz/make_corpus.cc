// Writes the seeds that we thought of: make_corpus DIR fills DIR/frame_decoder, DIR/session and so on. Run it when the
// language of an input changes; what a fuzz run finds is added beside, as a file of its own.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "client_script.h"
#include "driver.h"
#include "session_script.h"

namespace relay::fuzz {
namespace {

using server::Id;
namespace flag = proto::flag;

void Write(const std::filesystem::path& directory, const std::string& name, const std::string& bytes) {
  std::filesystem::create_directories(directory);
  std::ofstream(directory / name, std::ios::binary) << bytes;
}

std::string Bytes(const std::vector<int>& numbers) {
  std::string bytes;
  for (const int number : numbers) bytes += static_cast<char>(number);
  return bytes;
}

// A stream as fuzz_frame_decoder takes it: payloads up to 255 x 4 bytes, cut into such pieces.
std::string Stream(const std::vector<int>& pieces, const std::string& stream) {
  return Bytes({255, static_cast<int>(pieces.size())}) + Bytes(pieces) + stream;
}

void WriteFrameDecoder(const std::filesystem::path& directory) {
  const std::string small = server::PingFrame() + server::ReceiveFrame(1, 50) +
                            server::ChunkFrame(flag::kRequest, 1, Id(1), "") + server::GoawayFrame();
  const std::string start =
      server::StartFrame(flag::kRequest, 1, Id(1), {.flags = flag::kFin, .start = "start", .body = "body"});
  Write(directory, "nothing", Stream({}, ""));
  Write(directory, "small_frames_whole", Stream({}, small));
  Write(directory, "small_frames_cut", Stream({1, 3, 20, 24, 25, 2, 0, 7}, small));
  Write(directory, "start_cut_in_its_block", Stream({24, 16, 24}, start));
  Write(directory, "response_start", Stream({4}, server::StartFrame(flag::kResponse, 2, Id(1), {.body = "b"})));
  Write(directory, "part_of_a_frame", Stream({3}, start.substr(0, start.size() - 1)));
  Write(directory, "length_at_the_limit",
        Stream({4, 20}, server::ChunkFrame(flag::kRequest, 1, Id(1), std::string(1020, 'x'))));
  Write(directory, "length_over_the_limit",
        Stream({30}, small + server::ChunkFrame(flag::kRequest, 1, Id(1), std::string(1021, 'x'))));
  Write(directory, "length_over_the_limit_cut_in_its_header",
        Stream({10, 200}, server::ChunkFrame(flag::kRequest, 1, Id(1), std::string(1021, 'x'))));
  Write(directory, "length_of_all_ones", Stream({2}, std::string(24, '\xff')));
  Write(directory, "unknown_type", Stream({}, server::FrameOf(static_cast<proto::FrameType>(77), 0xff, 9, Id(1), "?")));
  Write(directory, "every_flag", Stream({}, server::EndFrame(0xff, 1, Id(1))));
}

void WriteSession(const std::filesystem::path& directory) {
  const int joined = kSaysHello | kJoins;
  const int small = joined | kSmallLimits;
  Write(directory, "wrong_preface", Bytes({0, kRaw, 8}) + "GET / HT");
  Write(directory, "preface_in_pieces",
        Bytes({0, kRaw, 3}) + "REL" + Bytes({kHalfRaw, 3}) + "AY/" + Bytes({kRaw, 2}) + "1\n");
  Write(directory, "second_hello", Bytes({kSaysHello, kFrame, 1, 0, 0, 0, 2, 8, 1}));
  Write(directory, "unknown_type", Bytes({joined, kFrame, 99, 0xff, 1, 1, 3, 1, 2, 3, kPing}));
  Write(
      directory, "exchange_with_itself",
      Bytes({joined,    kReceive, 2, 255, kRequest, 1,       2, 0, 10, 0,   kChunk, 1,    1, 2, 1, kEnd,    1, 1, 2,  //
             kResponse, 2,        2, 0,   5,        kWindow, 1, 2, 2,  255, kChunk, 0x26, 2, 2, 1, kBystand}));
  Write(directory, "queued_then_received",
        Bytes({joined, kRequest, 1, 2, 0, 10, 0, kChunk, 1, 1, 2, 1, kReceive, 2, 0, kResponse, 2, 2, 4, 0}));
  Write(directory, "idempotent_moves",
        Bytes({joined, kReceive, 2, 255, kRequest, 1, 2, 8, 10, 50, kReset, 2, 2, 129, kReceive, 2, 255, kTime, 250}));
  Write(
      directory, "receiver_on_a_connection_that_dies",
      Bytes({joined, kRequest, 1, 2, 8, 10, 0, kConnect, kReceive, 1, 255, kJoin, 4, 4, 0, kReceive, 4, 255, kBreak}));
  Write(directory, "the_bystanders_id",
        Bytes({joined, kChunk, 1, 1, 1, 1,       kReset, 1, 1, 1,   kResponse, 1, 1, 4, 3,       kRequest,
               1,      1,      0, 1, 0, kWindow, 2,      1, 1, 255, kEnd,      2, 1, 1, kBystand}));
  Write(directory, "the_bystanders_client",
        Bytes({joined, kJoin, 5, 0, 0, kJoin, 6, 255, 128, kLeave, 1, 0, kBystand}));
  Write(directory, "waits_run_out",
        Bytes({joined, kReceive, 1, 5, kReceive, 2, 0, kTime, 3, kWithdraw, 1, kWithdraw, 2}));
  Write(directory, "more_time", Bytes({joined,  kReceive, 2, 255, kRequest, 1,  2,       0, 10, 5,
                                       kExtend, 2,        2, 9,   kTime,    30, kExtend, 2, 2,  255,  //
                                       kExtend, 1,        2, 9,   kTime,    40, kExtend, 2, 2,  9}));
  Write(directory, "silence_is_death",
        Bytes({joined, kTime, 255, kTime, 255, kTime, 255, kTime, 255, kTime, 1, kBystand}));
  Write(directory, "goaway_with_work",
        Bytes({joined, kReceive, 2, 255, kRequest, 1, 2, 0, 1, 0, kGoaway, kInputEnd, kTime, 9}));
  Write(directory, "does_not_read",
        Bytes({joined, kStall,  kReceive, 2, 255, kRequest, 1,         2, 0, 1, 0, kWindow, 2,       1,       2,
               255,    kWindow, 2,        1, 2,   254,      kResponse, 2, 2, 0, 9, kPing,   kResume, kBystand}));
  Write(directory, "queue_is_full",
        Bytes({small, kRequest, 1, 2,   0, 100,    0, kRequest, 2, 3, 0,        100, 0,  kRequest,
               3,     4,        8, 100, 0, kChunk, 1, 1,        2, 1, kReceive, 1,   255}));
  // HELLO of an observer, OBSERVE of everything: raw, so that it is one itself.
  Write(directory, "observes_and_does_not_read",
        Bytes({kObserved | kSmallLimits, kRaw, 8}) + "RELAY/1\n" +
            Bytes({kFrame, 1,  0,  0,      0,        4,        8,        1,     32,       1,       kFrame, 15, 0, 0, 0,
                   2,      32, 99, kStall, kBystand, kBystand, kBystand, kPing, kBystand, kResume, kJoin,  1,  1, 0}));
  Write(directory, "is_observed",
        Bytes({kObserved | joined, kReceive, 2, 255, kRequest, 1, 2, 0, 10, 0, kLeave, 1, 1, kJoin, 1, 2, 128, kBystand,
               kBreak}));
  Write(directory, "too_many_resets",
        Bytes({small, kReset, 1, 2, 1, kReset, 1, 2, 1, kReset, 1, 2, 1, kReset, 1, 2, 1, kReset,  1, 2,
               1,     kReset, 1, 2, 1, kReset, 1, 2, 1, kReset, 1, 2, 1, kReset, 1, 2, 1, kBystand}));
  Write(directory, "asks_and_does_not_read",
        Bytes({small, kStall, kPing, kPing, kPing, kPing, kPing, kPing, kPing, kTime, 100, kBystand}));
  Write(directory, "takeover",
        Bytes({kSaysHello, kJoin, 1, 9, 129, kReceive, 1, 255, kConnect, kJoin, 1, 9, 129, kReceive, 1, 10, kTime, 9}));
}

void WriteClientProtocol(const std::filesystem::path& directory) {
  const std::string welcome = Bytes({1, kSaysWelcome, 0, 4});
  const std::string sender = welcome + Bytes({kDoesJoin, 1, kDoesStart, 1, 2, 0, 10});
  const std::string receiver = welcome + Bytes({kDoesJoin, 1, kDoesReceive, 1, 255});
  const int request = flag::kRequest;
  const int response = flag::kResponse;
  Write(directory, "refused", Bytes({1, kSaysGoaway, 8}));
  Write(directory, "before_welcome",
        Bytes({5, kDoesJoin, 1, kDoesStart, 1, 2, kIsWhole, 255, kSaysWelcome, 0x11, 4,  //
               kDoesWrite, 1, 2, kIsWhole, 255}));
  Write(directory, "one_frame_each_way",
        welcome + Bytes({kDoesJoin, 1, kDoesStart, 1, 2, kIsWhole | kHasTimeout, 4,  //
                         kSaysResponse, 1, 2, flag::kFin, 5}));
  Write(directory, "streams_both_ways",
        sender + Bytes({kDoesWrite,   1,        2, 0,        255, kSaysResponse, 1,        2, 0, 0,
                        kSaysWindow,  request,  1, 2,        255,  //
                        kDoesWrite,   1,        2, kIsWhole, 5,   kSaysChunk,    response, 1, 2, 200,
                        kDoesConsume, 1,        2, 255,  //
                        kSaysEnd,     response, 1, 2,        3}));
  Write(directory, "window_overrun", sender + Bytes({kSaysResponse, 1, 2, 0, 255, kSaysChunk, response, 1, 2, 255}));
  Write(directory, "request_over_its_window", receiver + Bytes({kSaysRequest, 1, 3, flag::kFin, 255, 0}));
  Write(directory, "window_by_the_half",
        sender + Bytes({kSaysResponse, 1, 2, 0, 200, kDoesConsume, 1, 2, 255, kSaysChunk, response, 1, 2, 220}));
  Write(directory, "serves_and_goes_on",
        receiver + Bytes({kSaysRequest,
                          1,
                          3,
                          flag::kFin | flag::kIdempotent,
                          9,
                          7,
                          kDoesRespond,
                          1,
                          3,
                          kIsWhole | kGoesOn,
                          9,
                          kSaysRequest,
                          1,
                          4,
                          flag::kFin,
                          0,
                          0,
                          kDoesRespond,
                          1,
                          4,
                          0,
                          0,
                          kDoesEnd,
                          1,
                          4,
                          kGoesOn,
                          5}));
  Write(
      directory, "goes_on_before_the_echo_of_a_withdrawal",
      receiver +
          Bytes(
              {kDoesWithdraw,  1, kSaysRequest, 1, 3, flag::kFin,       9, 7, kDoesRespond, 1, 3, kIsWhole | kGoesOn, 9,
               kSaysWithdrawn, 1, kDoesReceive, 1, 5, kSaysNothingCame, 1}));
  Write(directory, "a_sender_does_not_go_on", sender + Bytes({kDoesWrite, 1, 2, kIsWhole | kGoesOn, 9}));
  Write(directory, "heads_that_cannot_be_read",
        receiver + Bytes({kSaysHeadless, request, 1, 3, kDoesStart, 1, 2, 0, 1, kSaysHeadless, response, 1, 2}));
  Write(directory, "taken_over", receiver + Bytes({kSaysLeave, 1, 10, kDoesJoin, 2, kDoesLeave, 1, kSaysLeave, 1, 0}));
  Write(directory, "resets_and_late_frames",
        sender + Bytes({kDoesReset, 1, 2, 1, kSaysReset,  1,       2, 4, kSaysChunk,
                        response,   1, 2, 9, kDoesStart,  1,       3, 0, 1,  //
                        kSaysReset, 1, 3, 8, kSaysWindow, request, 1, 3, 255}));
  Write(directory, "goaway_with_a_wait", receiver + Bytes({kSaysGoaway, 14, kSaysReset, 1, 0, 14, kDoesGoaway}));
  Write(directory, "more_time",
        receiver + Bytes({kSaysRequest,
                          1,
                          3,
                          flag::kFin,
                          1,
                          9,
                          kDoesExtend,
                          1,
                          3,
                          200,  //
                          kSaysExtend,
                          1,
                          3,
                          150,
                          kDoesRespond,
                          1,
                          3,
                          kIsWhole,
                          1,  //
                          kSaysExtend,
                          1,
                          3,
                          100,
                          kDoesExtend,
                          1,
                          3,
                          5}));
  Write(directory, "a_server_that_is_silent",
        welcome + Bytes({kTimePasses, 50, kTimePasses, 60, kSaysPing, 7, kTimePasses, 255, kTimePasses, 255}));
  Write(directory, "unknown_type", welcome + Bytes({kSaysFrame, 99, 255, 1, 1, 3, 1, 2, 3, kSaysPing, 1}));
  Write(directory, "a_request_for_nobody", welcome + Bytes({kDoesJoin, 1, kSaysRequest, 1, 3, 0, 1, 0, kSaysPing, 1}));
  Write(directory, "length_of_all_ones", welcome + Bytes({kSaysRaw, 4, 255, 255, 255, 255}));
}

void WriteConfig(const std::filesystem::path& directory) {
  Write(directory, "nothing", "");
  Write(directory, "one", "queue-count = 5\n");
  Write(directory, "all_forms",
        "# words\n\n\tqueue-count=5 # five\r\nlisten = \"unix:/tmp/a # b\" # c\nlisten=unix:/a#b\nlog-level = off");
  Write(directory, "two_names", "attempts = 4\nqueue-bytes = 1MiB\nmax-attempts = 5\nqueue-bytes = 2GiB\n");
  Write(directory, "times", "heartbeat-interval = 1h30m\nlinger-time = 0s\nhello-timeout=9ms\n");
  Write(directory, "two_that_do_not_fit", "initial-window-bytes = 1025KiB\nmax-window-bytes = 1MiB\n");
  Write(directory, "no_such_limit", "no-such-limit = 1\n");
  Write(directory, "not_for_a_file", "config = /etc/passwd\nhelp = true\nversion = true\n");
  Write(directory, "without_value", "queue-count =\nqueue-count\n=\n\"\n");
  Write(directory, "open_quote", "listen = \"unix:/tmp/x\nmax-channels = 5\n");
  Write(directory, "control", std::string("queue-count = 5\0\x1b\n", 18));
  Write(directory, "too_short_to_be_seen", "*\nx\n");
  Write(directory, "not_the_first_of_its_name", "listen = a\nqueue-count = 5\nlisten = b\n");
  Write(directory, "sections", "[x]\n++ = 5\n-- = 5\na.b = 5\nlisten = [a,b]\n");
}

void WriteChannelName(const std::filesystem::path& directory) {
  const auto name = [](int most, const std::string& text) { return Bytes({most}) + text; };
  Write(directory, "nothing", name(0, ""));
  Write(directory, "ascii", name(3, "jobs/eu-west-1"));
  Write(directory, "uuid", name(36, "00112233-4455-6677-8899-AABBCCDDEEFF"));
  Write(directory, "uuid_that_is_none", name(36, "00112233-4455-6677-8899-AABBCCDDEEFG"));
  Write(directory, "each_length", name(5, "a\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80z"));
  Write(directory, "last_of_each_length", name(2, "\x7e\xdf\xbf\xef\xbf\xbf\xf4\x8f\xbf\xbf"));
  Write(directory, "surrogates", name(1, "\xed\x9f\xbf\xed\xa0\x80\xed\xbf\xbf\xee\x80\x80"));
  Write(directory, "overlong", name(9, "\xc0\x80\xc1\xbf\xe0\x9f\xbf\xf0\x8f\xbf\xbf"));
  Write(directory, "past_the_last", name(9, "\xf4\x90\x80\x80\xf5\x80\x80\x80\xff\xfe"));
  Write(directory, "cut_short", name(3, "\xe6\x97z\xf0\x9f\x98z\xc3"));
  Write(directory, "controls", name(1, "\x1f \x7e\x7f"));
  Write(directory, "controls_of_two_bytes", name(1, "\xc2\x9b"));
  Write(directory, "behind_the_controls", name(1, "\xc2\xa0"));
  Write(directory, "longest", name(255, std::string(255, 'x')));
  Write(directory, "too_long", name(255, std::string(256, 'x')));
}

// Pieces as fuzz_inspect takes them, of at most 256 bytes.
std::string Up(const std::string& bytes) {
  return Bytes({0}) + bytes + std::string((256 - bytes.size() % 256) % 256, 'x');
}
std::string Down(const std::string& bytes) { return Bytes({1}) + bytes; }

void WriteInspect(const std::filesystem::path& directory) {
  constexpr int kResync = 1;
  constexpr int kMiddle = 2;
  constexpr int kVerbose = 8;
  constexpr int kPrefaced = 16;
  constexpr int kCoarse = 32;
  const std::string joined = server::HelloFrame() + server::JoinFrame(1, Id(1), "jobs") + server::ReceiveFrame(1);
  const std::string start = server::StartFrame(flag::kRequest, 1, Id(2), {.flags = flag::kFin, .body = "b"});
  Write(directory, "nothing", "");
  Write(directory, "joined", Bytes({kPrefaced | kCoarse}) + Up(joined));
  Write(directory, "in_small_pieces",
        Bytes({kPrefaced | kVerbose, 0, 10}) + joined.substr(0, 10) + Bytes({0, 200}) + joined.substr(10) +
            Bytes({1, 32}) + server::PingFrame());
  Write(directory, "handed_a_request", Bytes({kPrefaced | kCoarse}) + Up(joined) + Down(start));
  Write(directory, "wrong_preface", Bytes({kCoarse, 0}) + "GET / HTTP/1.1\r\n" + joined);
  Write(directory, "wrong_preface_and_on", Bytes({kCoarse | kResync, 0}) + "GET / HTTP/1.1\r\n" + joined);
  Write(directory, "damage_and_on",
        Bytes({kPrefaced | kCoarse | kResync, 0}) + joined + std::string(30, '\xff') + start);
  Write(directory, "in_the_middle", Bytes({kMiddle | kCoarse, 0}) + start.substr(7) + joined + start);
  Write(directory, "a_gap_inside", Bytes({kPrefaced, 0, 80}) + start.substr(0, 80) + Bytes({250, 1, 0, 100}) + joined);
  Write(directory, "a_gap_beyond", Bytes({kPrefaced, 0, 50}) + start.substr(0, 50) + Bytes({250, 100, 0, 90}) + joined);
  Write(directory, "lost_frames",
        Bytes({kPrefaced, 0, 100}) + joined + Bytes({248, 24}) + server::EndFrame(flag::kRequest, 1, Id(2)));
}

// Segments: who, flags, number, acknowledged, bytes.
void WriteCapture(const std::filesystem::path& directory) {
  constexpr int kAck = 0x10;
  Write(directory, "in_order", Bytes({0, 0, 2, 0, 0, 0, 1, 0x12, 0, 1, 0, 0, kAck, 1, 1, 20, 0, kAck, 21, 1, 63}));
  Write(directory, "shuffled", Bytes({0, 0, kAck, 40, 1, 20, 0, kAck, 0, 1, 10, 0, kAck, 5, 1, 40, 1, kAck, 0, 60, 0}));
  Write(directory, "ends_in_a_hole",
        Bytes({0, 0, kAck, 0, 1, 9, 0, kAck, 99, 1, 9, 0, 0x11, 120, 1, 0, 1, 4, 0, 0, 0}));
  Write(directory, "cut_and_far",
        Bytes({0, 64, kAck, 0, 1, 9, 9, 128, kAck, 64, 1, 9, 128, kAck, 65, 1, 9, 0, kAck, 1, 1, 9}));
  const std::string ip = Bytes({0x45, 0, 0, 41, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2});
  const std::string tcp = Bytes({1, 0, 28, 252, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, kAck, 0, 0, 0, 0, 0, 0});
  Write(directory, "raw_packet", Bytes({1, 2, 41}) + ip + tcp + "R");
  Write(directory, "ethernet_packet", Bytes({1, 1, 55}) + "twelve bytes" + Bytes({8, 0}) + ip + tcp + "R");
  const std::string file =
      Bytes({0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 101, 0, 0, 0});
  Write(directory, "pcap",
        Bytes({2}) + file + Bytes({1, 0, 0, 0, 1, 0, 0, 0, 41, 0, 0, 0, 41, 0, 0, 0}) + ip + tcp + "R");
  Write(directory, "pcapng", Bytes({2,   0x0a, 0x0d, 0x0d, 0x0a, 28,  0,   0,   0,  0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0,
                                    255, 255,  255,  255,  255,  255, 255, 255, 28, 0,    0,    0,    1,    0, 0, 0, 20,
                                    0,   0,    0,    101,  0,    0,   0,   0,   0,  4,    0,    20,   0,    0, 0}));
}

}  // namespace
}  // namespace relay::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_corpus DIR\n");
    return 64;
  }
  relay::fuzz::WriteFrameDecoder(std::filesystem::path(argv[1]) / "frame_decoder");
  relay::fuzz::WriteSession(std::filesystem::path(argv[1]) / "session");
  relay::fuzz::WriteClientProtocol(std::filesystem::path(argv[1]) / "client_protocol");
  relay::fuzz::WriteConfig(std::filesystem::path(argv[1]) / "config");
  relay::fuzz::WriteChannelName(std::filesystem::path(argv[1]) / "channel_name");
  relay::fuzz::WriteInspect(std::filesystem::path(argv[1]) / "inspect");
  relay::fuzz::WriteCapture(std::filesystem::path(argv[1]) / "capture");
  return 0;
}
