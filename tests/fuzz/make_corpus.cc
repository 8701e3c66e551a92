// Writes the seeds of both fuzz targets: make_corpus DIR fills DIR/frame_decoder and DIR/session. Run it when the
// language of an input changes; what a fuzz run finds is added beside, as a file of its own.

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

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
  Write(directory, "too_many_resets",
        Bytes({small, kReset, 1, 2, 1, kReset, 1, 2, 1, kReset, 1, 2, 1, kReset, 1, 2, 1, kReset,  1, 2,
               1,     kReset, 1, 2, 1, kReset, 1, 2, 1, kReset, 1, 2, 1, kReset, 1, 2, 1, kBystand}));
  Write(directory, "asks_and_does_not_read",
        Bytes({small, kStall, kPing, kPing, kPing, kPing, kPing, kPing, kPing, kTime, 100, kBystand}));
  Write(directory, "takeover",
        Bytes({kSaysHello, kJoin, 1, 9, 129, kReceive, 1, 255, kConnect, kJoin, 1, 9, 129, kReceive, 1, 10, kTime, 9}));
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
  return 0;
}
