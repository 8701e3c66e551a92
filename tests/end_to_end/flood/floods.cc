#include "floods.h"

#include <algorithm>
#include <string>
#include <utility>

#include "wire.h"

namespace flood {
namespace {

constexpr uint8_t kKind = 9;  // of the attackers' ids
constexpr size_t kBlockBytes = size_t{256} * 1024;
constexpr uint16_t kMaxClients = 4096;  // relayd's default

const Id kChannel = MakeId(kKind, 1);
const Id kRequestId = MakeId(kKind, 2);

// `part` as often as it goes into a large write.
std::string Repeated(const std::string& part, size_t bytes = kBlockBytes) {
  std::string block;
  for (size_t i = std::max<size_t>(1, bytes / part.size()); i > 0; --i) block += part;
  return block;
}

Id ClientId(uint64_t connection, uint64_t client) { return MakeId(kKind + 1, connection << 16 | client); }

// HELLO and the JOINs of slots 1 to `clients`.
std::string Joined(uint64_t connection, uint16_t clients, const Id& channel = kChannel) {
  std::string opening = Hello();
  for (uint16_t slot = 1; slot <= clients; ++slot) opening += Join(slot, ClientId(connection, slot), channel);
  return opening;
}

std::function<std::string(uint64_t)> Joining(uint16_t clients) {
  return [clients](uint64_t connection) { return Joined(connection, clients, MakeId(kKind + 2, connection)); };
}

std::function<std::string(uint64_t)> Always(std::string text) {
  return [text = std::move(text)](uint64_t) { return text; };
}

// An exchange of slot 1 with slot 2 of the same connection, and `middle` between its START and its end.
std::string WithItself(const std::string& middle) {
  return Receive(2) + Request(1, kRequestId, 0) + middle + Frame(kEnd, kRequest, 1, kRequestId) +
         Response(2, kRequestId, kFin);
}

std::string Chunks(size_t count, std::string_view body) {
  std::string chunks;
  for (size_t i = 0; i < count; ++i) chunks += Frame(kChunk, kRequest, 1, kRequestId, body);
  return chunks;
}

std::string OneByteWindows(bool with_chunks) {
  std::string frames = Chunks(1, std::string(kInitialWindowBytes / 2 - kHeaderBytes, 'x'));
  frames += Chunks(1, std::string(kInitialWindowBytes / 2 - kHeaderBytes, 'x'));
  const size_t step = with_chunks ? kHeaderBytes + 1 : 1;
  for (size_t total = kInitialWindowBytes; total < kInitialWindowBytes + 4000 * step;) {
    total += step;
    frames += Window(2, kRequestId, kRequest, total);
    if (with_chunks) frames += Chunks(1, "x");
  }
  return frames;
}

void AddHandshakes(std::vector<Flood>& floods) {
  const std::string slow = std::string(kPreface) + Frame(kHello, 0, 0, kNil, std::string(4000, '\0'));
  floods.push_back({.name = "HELLO at a byte each 100 ms, 3,000 connections",
                    .ends = {"hello_timeout", "max_unauthenticated"},
                    .connections = 3000,
                    .opening = Always(slow),
                    .byte_interval_ms = 100,
                    .flags = {"--hello-timeout", "500ms", "--max-unauthenticated", "64"},
                    .least_seconds = 1.5,
                    .is_paced = true});
  floods.push_back({.name = "4,000 bytes of a HELLO, then nothing, 1,000 connections",
                    .ends = {"hello_timeout"},
                    .connections = 1000,
                    .opening = Always(slow.substr(0, 4000)),
                    .flags = {"--hello-timeout", "500ms"},
                    .least_seconds = 1.5,
                    .is_paced = true});
  // 64 MiB of them, were there no bound.
  const std::string frame = Frame(kChunk, kRequest, 1, kRequestId, std::string(size_t{128} * 1024, '\0'));
  floods.push_back({.name = "all of a frame but its last byte, 512 connections",
                    .ends = {"partial_frame_bytes_total"},
                    .connections = 512,
                    .opening = Always(Hello() + frame.substr(0, frame.size() - 1)),
                    .flags = {"--partial-frame-bytes-total", "16MiB"}});
  floods.push_back({.name = "10,000 connections at once, held",
                    .connections = 10000,
                    .opening = Always(Hello()),
                    .is_long = true,
                    .is_paced = true});
  floods.push_back({.name = "a HELLO of more than 4 KiB",
                    .ends = {"payload_too_large"},
                    .connections = 16,
                    .opening = Always(std::string(kPreface) + Frame(kHello, 0, 0, kNil, std::string(8192, '\0')))});
  floods.push_back({.name = "connect, close", .ends = {"peer_closed"}, .connections = 16, .close = Flood::Close::kFin});
  floods.push_back({.name = "connect, reset", .ends = {}, .connections = 16, .close = Flood::Close::kReset});
  floods.push_back({.name = "connect, HELLO, reset",
                    .ends = {},
                    .connections = 16,
                    .opening = Always(Hello()),
                    .close = Flood::Close::kReset});
  floods.push_back({.name = "HTTP on the port",
                    .ends = {"bad_preface"},
                    .connections = 16,
                    .opening = Always("GET / HTTP/1.1\r\nHost: relay\r\n\r\n")});
  floods.push_back(
      {.name = "TLS on the port",
       .ends = {"bad_preface"},
       .connections = 16,
       .opening = Always(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(506, '\x5a'))});
  floods.push_back({.name = "bytes that are nothing, endless",
                    .ends = {"bad_preface"},
                    .connections = 16,
                    .block = std::string(kBlockBytes, '\x5a')});
}

void AddControlFrames(std::vector<Flood>& floods) {
  const std::string ping = Frame(kPing, 0, 0, kNil, "12345678");
  floods.push_back(
      {.name = "PING", .ends = {"control_frames_per_second"}, .opening = Always(Hello()), .block = Repeated(ping)});
  floods.push_back({.name = "PING over 64 connections",
                    .ends = {"control_frames_per_second"},
                    .connections = 64,
                    .opening = Always(Hello()),
                    .block = Repeated(ping)});
  floods.push_back({.name = "PING, the PONGs not read",
                    .ends = {"control_frames_per_second"},
                    .opening = Always(Hello()),
                    .block = Repeated(ping),
                    .reads = false});
  floods.push_back({.name = "frames of an unknown type",
                    .ends = {"control_frames_per_second"},
                    .opening = Always(Hello()),
                    .block = Repeated(Frame(kNoType, 0, 0, kNil))});
  floods.push_back({.name = "late frames of unknown ids",
                    .ends = {"control_frames_per_second"},
                    .opening = Joining(1),
                    .block = Repeated(Frame(kChunk, kRequest, 1, kRequestId))});
  floods.push_back({.name = "JOIN, LEAVE",
                    .ends = {"control_frames_per_second"},
                    .opening = Always(Hello()),
                    .block = Repeated(Join(1, ClientId(0, 1), kChannel) + Leave(1, ClientId(0, 1)))});
  floods.push_back({.name = "JOIN, LEAVE, the echoes not read",
                    .ends = {"control_frames_per_second"},
                    .opening = Always(Hello()),
                    .block = Repeated(Join(1, ClientId(0, 1), kChannel) + Leave(1, ClientId(0, 1))),
                    .reads = false});
  // What is asked again at the end has each connection ended: with several threads the names alone are refused on each
  // of them by turns, and may draw too little on any one.
  floods.push_back({.name = "a million channel names",
                    .ends = {"channel_limit", "resets_per_second"},
                    .connections = 256,
                    .opening =
                        [](uint64_t connection) {
                          std::string frames = Hello();
                          for (uint16_t slot = 1; slot <= kMaxClients; ++slot) {
                            const Id id = ClientId(connection, slot);
                            frames += Join(slot, id, id);
                          }
                          return frames;
                        },
                    .block = Repeated(Join(kMaxClients + 1, ClientId(0, 0), ClientId(0, 0)))});
  floods.push_back({.name = "a million clients",
                    .ends = {"max_clients", "resets_per_second"},
                    .connections = 256,
                    .opening = Joining(kMaxClients)});
  floods.push_back({.name = "RECEIVE, withdrawn",
                    .ends = {"control_frames_per_second"},
                    .opening = Joining(1),
                    .block = Repeated(Receive(1) + Withdraw(1))});
  floods.push_back({.name = "EXTEND",
                    .ends = {"control_frames_per_second"},
                    .opening =
                        [](uint64_t connection) {
                          return Joined(connection, 2, MakeId(kKind + 2, connection)) + Receive(2) +
                                 Request(1, kRequestId, 0, "", 60000);
                        },
                    .block = Repeated(Extend(2, kRequestId, 30000))});
  floods.push_back({.name = "10,002 RECEIVEs whose wait ends at once",
                    .connections = 3,
                    .opening =
                        [](uint64_t connection) {
                          constexpr uint16_t kClients = 3334;
                          std::string frames = Joined(connection, kClients);
                          for (uint16_t slot = 1; slot <= kClients; ++slot) frames += ReceiveFor(slot, 500);
                          return frames;
                        },
                    .is_long = true,
                    .is_paced = true});
  floods.push_back({.name = "RECEIVE that does not wait, the answers not read",
                    .ends = {"control_frames_per_second"},
                    .opening = Joining(1),
                    .block = Repeated(ReceiveFor(1, 0)),
                    .reads = false});
  floods.push_back({.name = "the same, without control_frames_per_second",
                    .ends = {"control_frames_owed"},
                    .opening = Joining(1),
                    .block = Repeated(ReceiveFor(1, 0)),
                    .reads = false,
                    .is_unguarded = true,
                    .flags = {"--control-frames-per-second", "0"}});
  floods.push_back({.name = "500 connections, each with a little of everything",
                    .connections = 500,
                    .opening = Joining(2),
                    .block = Repeated(ping + Receive(1) + Withdraw(1) + Frame(kNoType, 0, 0, kNil) +
                                          Frame(kChunk, kRequest, 1, kRequestId) + WithItself(Chunks(8, "x")),
                                      4096)});
}

void AddExchanges(std::vector<Flood>& floods) {
  const std::string reset = Frame(kReset, 0, 1, kRequestId);
  floods.push_back({.name = "START, RESET",
                    .ends = {"resets_per_second"},
                    .opening = Joining(1),
                    .block = Repeated(Request(1, kRequestId, 0) + reset)});
  floods.push_back({.name = "START, RESET, to a receiver",
                    .ends = {"resets_per_second"},
                    .opening = Joining(2),
                    .block = Repeated(Receive(2) + Request(1, kRequestId, 0) + reset)});
  floods.push_back({.name = "START on a slot without a client",
                    .ends = {"resets_per_second"},
                    .opening = Always(Hello()),
                    .block = Repeated(Request(1, kRequestId, 0))});
  floods.push_back({.name = "RECEIVE on a slot without a client",
                    .ends = {"resets_per_second"},
                    .opening = Always(Hello()),
                    .block = Repeated(Receive(1))});
  floods.push_back({.name = "END before START, again and again",
                    .ends = {"resets_per_second"},
                    .opening = Joining(2),
                    .block = Repeated(Receive(2) + Request(1, kRequestId, 0) + Frame(kEnd, kResponse, 2, kRequestId))});
  floods.push_back({.name = "a header that breaks a rule",
                    .ends = {"bad_header"},
                    .opening = Always(Hello()),
                    .block = Repeated(Frame(kPing, 0xff, 7, kRequestId))});
  floods.push_back({.name = "empty CHUNKs",
                    .ends = {"control_frames_per_second"},
                    .opening = Joining(2),
                    .block = WithItself(Chunks(kInitialWindowBytes / kHeaderBytes, ""))});
  floods.push_back({.name = "one-byte CHUNKs",
                    .opening = Joining(2),
                    .block = WithItself(Chunks(kInitialWindowBytes / (kHeaderBytes + 1), "x"))});
  floods.push_back({.name = "empty CHUNKs to a queue",
                    .ends = {"control_frames_per_second"},
                    .opening = Joining(1),
                    .block = Request(1, kRequestId, 0) + Chunks(kInitialWindowBytes / kHeaderBytes, "") + reset});
  floods.push_back({.name = "WINDOW of one byte more",
                    .opening = Joining(2),
                    .block = WithItself(OneByteWindows(/*with_chunks=*/false))});
  floods.push_back({.name = "WINDOW of one byte more, CHUNK of one byte",
                    .opening = Joining(2),
                    .block = WithItself(OneByteWindows(/*with_chunks=*/true))});
  floods.push_back({.name = "WINDOW that says nothing new",
                    .ends = {"control_frames_per_second"},
                    .opening =
                        [](uint64_t connection) {
                          return Joined(connection, 1, MakeId(kKind + 2, connection)) + Request(1, kRequestId, 0);
                        },
                    .block = Repeated(Window(1, kRequestId, kResponse, 1))});
  floods.push_back(
      {.name = "WINDOW that overflows",
       .ends = {"window_too_far", "resets_per_second"},
       .opening = Joining(2),
       .block = Repeated(Receive(2) + Request(1, kRequestId, 0) + Window(1, kRequestId, kResponse, ~uint64_t{0}))});
  floods.push_back({.name = "requests and answers at full speed, nothing wrong",
                    .opening = Joining(2),
                    .block = Repeated(WithItself(""))});
  // The first three fill the queue and hold it; whoever comes later finds it full.
  floods.push_back(
      {.name = "requests to a full queue",
       .ends = {"queue_count", "control_frames_per_second"},
       .connections = 4,
       .opening =
           [](uint64_t connection) {
             if (connection >= 3) {
               return Joined(connection, 1) +
                      Repeated(Request(1, ClientId(connection, 0), kFin), size_t{4} * 1024 * 1024);
             }
             constexpr uint16_t kRequests = 34;
             std::string frames = Joined(connection, kRequests);
             for (uint16_t slot = 1; slot <= kRequests; ++slot) {
               frames += Request(slot, ClientId(connection, slot), kFin);
             }
             return frames;
           },
       .flags = {"--queue-count", "100", "--control-frame-burst", "4096", "--control-frames-per-second", "64"},
       .least_ended = 2});
  // Odd slots send, even ones answer with as much as these let them, on the one connection that does not read.
  constexpr uint16_t kAnswers = 3;
  const auto id_of = [](uint16_t slot) { return MakeId(kKind + 3, slot); };
  std::string answers;
  for (uint16_t slot = 1; slot < 2 * kAnswers; slot += 2) {
    answers +=
        Frame(kChunk, kResponse, static_cast<uint16_t>(slot + 1), id_of(slot), std::string(kMaxPayloadBytes, 'x'));
  }
  floods.push_back({.name = "a sender that never reads its responses",
                    .ends = {"send_queue"},
                    .opening =
                        [id_of](uint64_t connection) {
                          std::string frames = Joined(connection, 2 * kAnswers, MakeId(kKind + 2, connection));
                          for (uint16_t slot = 1; slot < 2 * kAnswers; slot += 2) {
                            const auto other = static_cast<uint16_t>(slot + 1);
                            frames += Receive(other) + Request(slot, id_of(slot), kFin) +
                                      Window(slot, id_of(slot), kResponse, kMaxWindowBytes) +
                                      Response(other, id_of(slot), 0);
                          }
                          return frames;
                        },
                    .block = answers,
                    .reads = false});
}

}  // namespace

std::vector<Flood> AllFloods() {
  std::vector<Flood> floods;
  AddHandshakes(floods);
  AddControlFrames(floods);
  AddExchanges(floods);
  return floods;
}

}  // namespace flood
