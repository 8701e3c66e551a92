// What is shown of a session with every type of frame and every end, against files that people have looked at. A change
// of the wire, or of the looks, changes them: write them again and look at the difference.
//
//   RELAY_WRITE_GOLDEN=1 build/dev/tests/tools/inspect_test --gtest_filter='Golden.*'

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <span>
#include <sstream>
#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "server/ends.h"
#include "session.h"
#include "shown.h"
#include "tools/inspect/json_sink.h"
#include "tools/inspect/requests_sink.h"
#include "tools/inspect/summary_sink.h"
#include "tools/inspect/text_sink.h"
#include "tools/inspect/timeline_sink.h"
#include "tools/inspect/words.h"

namespace relay::inspect {
namespace {

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

void ExpectGolden(const std::string& name, const std::string& shown) {
  ASSERT_FALSE(shown.empty());
  const std::string path = std::string(GOLDEN_DIR) + "/" + name;
  if (std::getenv("RELAY_WRITE_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << shown;
  std::istringstream want(ReadFile(path));
  std::istringstream have(shown);
  std::string want_line;
  std::string have_line;
  for (int line = 1;; ++line) {
    const bool has_want = static_cast<bool>(std::getline(want, want_line));
    const bool has_have = static_cast<bool>(std::getline(have, have_line));
    if (!has_want && !has_have) return;
    ASSERT_EQ(has_have ? have_line : "(nothing)", has_want ? want_line : "(nothing)") << name << ":" << line;
  }
}

TextOptions Wide(size_t width) {
  TextOptions options;
  options.width = width;
  return options;
}

template <typename S>
std::string ShownIn(const TextOptions& options, const std::function<void(Tap&)>& tell) {
  const auto make = [&](Output& out) -> std::unique_ptr<Sink> {
    if constexpr (std::is_same_v<S, SummarySink>) return std::make_unique<S>(options, false, out);
    if constexpr (!std::is_same_v<S, SummarySink>) return std::make_unique<S>(options, out);
  };
  return Shown(make, tell, {options.width, false});
}

std::string Timeline(Screen screen, const std::function<void(Tap&)>& tell) {
  const auto make = [&](Output& out) {
    return std::make_unique<TimelineSink>(proto::ToString(SomeId(900)), Wide(screen.columns), out);
  };
  return Shown(make, tell, screen);
}

std::string Json() {
  return Shown([](Output& out) { return std::make_unique<JsonSink>(JsonSink::Options{}, out); }, TellSession);
}

// The bytes of each frame: what writer and reader would change together is seen here.
class WireSink : public Sink {
 public:
  explicit WireSink(Output& out) : out_(out) {}

  void OnFrame(const SeenFrame& frame) override {
    constexpr size_t kMostBytes = 256;
    const auto hex = [](std::span<const uint8_t> bytes) {
      return absl::BytesToHexString({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    };
    const size_t shown = std::min(kMostBytes, frame.payload.size());
    out_.Write(absl::StrCat(frame.connection, frame.direction == Direction::kToServer ? " > " : " < ",
                            hex(frame.header.bytes().first(proto::kHeaderBytes)), " ", hex(frame.payload.first(shown)),
                            "\n"));
  }
  absl::Status Finish() override { return out_.Flush(); }

 private:
  Output& out_;
};

TEST(Golden, FramesOnTheWire) {
  ExpectGolden("wire.txt", Shown([](Output& out) { return std::make_unique<WireSink>(out); }, TellSession));
}

TEST(Golden, FramesIn100Columns) { ExpectGolden("frames_100.txt", ShownIn<TextSink>(Wide(100), TellSession)); }

TEST(Golden, FramesIn80Columns) { ExpectGolden("frames_80.txt", ShownIn<TextSink>(Wide(80), TellSession)); }

TEST(Golden, FramesIn160Columns) { ExpectGolden("frames_160.txt", ShownIn<TextSink>(Wide(160), TellSession)); }

TEST(Golden, FramesWithAllOfTheirFields) {
  TextOptions options = Wide(100);
  options.is_verbose = true;
  options.dump_bytes = 64;
  const std::string shown = ShownIn<TextSink>(options, TellSession);
  // The first frames have all that there is.
  ExpectGolden("frames_verbose.txt", shown.substr(0, shown.find("connection 5: ")));
}

TEST(Golden, FramesInColour) {
  TextOptions options = Wide(100);
  options.style.has_colour = true;
  ExpectGolden("frames_colour.txt", ShownIn<TextSink>(options, TellSession));
}

TEST(Golden, FramesAsJson) { ExpectGolden("frames.json", Json()); }

TEST(Golden, Requests) {
  ExpectGolden("requests_100.txt", ShownIn<RequestsSink>(Wide(100), TellSession));
  ExpectGolden("requests_80.txt", ShownIn<RequestsSink>(Wide(80), TellSession));
  ExpectGolden("requests_160.txt", ShownIn<RequestsSink>(Wide(160), TellSession));
}

TEST(Golden, Timeline) {
  ExpectGolden("timeline_100.txt", Timeline({100, false}, TellSlowExchange));
  ExpectGolden("timeline_ascii.txt", Timeline({80, true}, TellSlowExchange));
}

TEST(Golden, TimelineOfASenderThatLeaves) {
  ExpectGolden("timeline_sender_lost.txt", Timeline({80, false}, TellLostSender));
}

TEST(Golden, TimelineOfARequestThatExpiresInTheQueue) {
  ExpectGolden("timeline_expired.txt",
               Timeline({80, false}, TellExpiredRequest) + ShownIn<RequestsSink>(Wide(80), TellExpiredRequest));
}

// Whatever the directions are told of, what is not known is not said.
TEST(Golden, WithoutOrderBetweenTheDirections) {
  ExpectGolden("unordered_100.txt", ShownIn<TextSink>(Wide(100), TellUnordered));
  ExpectGolden("unordered_requests.txt",
               ShownIn<RequestsSink>(Wide(100), TellUnordered) + ShownIn<SummarySink>(Wide(100), TellUnordered));
  ExpectGolden("unordered.json",
               Shown([](Output& out) { return std::make_unique<JsonSink>(JsonSink::Options{}, out); }, TellUnordered));
}

TEST(Golden, Summary) {
  ExpectGolden("summary_100.txt", ShownIn<SummarySink>(Wide(100), TellSession));
  ExpectGolden("summary_80.txt", ShownIn<SummarySink>(Wide(80), TellSession));
}

TEST(Golden, NoLineIsLongerThanTheWidth) {
  for (const size_t width : std::initializer_list<size_t>{60, 61, 66, 79, 80, 81, 99, 100, 120, 139, 140, 160, 200}) {
    TextOptions verbose = Wide(width);
    verbose.is_verbose = true;
    const auto timelines = [&](Output& out) { return std::make_unique<TimelineSink>("all", verbose, out); };
    for (const std::string& shown :
         {ShownIn<TextSink>(verbose, TellSession), ShownIn<RequestsSink>(verbose, TellSession),
          ShownIn<SummarySink>(verbose, TellSession), Shown(timelines, TellSession, {width, false})}) {
      std::istringstream lines(shown);
      std::string line;
      while (std::getline(lines, line)) ASSERT_LE(Columns(line), width) << line;
    }
  }
}

TEST(Golden, NothingButAsciiWhereThatIsAsked) {
  const auto only_ascii = [](const std::string& shown) {
    return std::all_of(shown.begin(), shown.end(), [](unsigned char c) { return c < 0x80; });
  };
  const auto make = [](Output& out) { return std::make_unique<TextSink>(Wide(80), out); };
  EXPECT_FALSE(only_ascii(Shown(make, TellSession, {80, false})));
  EXPECT_TRUE(only_ascii(Shown(make, TellSession, {80, true})));
  EXPECT_TRUE(only_ascii(Timeline({80, true}, TellSlowExchange)));
}

// A percentile is no longer than what was longest.
TEST(Golden, SummaryHasNoTimeThatNothingTook) {
  const std::string shown = ShownIn<SummarySink>(Wide(160), TellSlowExchange);
  EXPECT_NE(shown.find("1.06s  1.06s  1.06s"), std::string::npos) << shown;
}

// Both streams may stand still at the same time.
TEST(Golden, SummaryIsOutOfCreditNoLongerThanTheExchangeTook) {
  Exchange exchange;
  exchange.began = absl::UnixEpoch();
  exchange.ended = exchange.began + absl::Milliseconds(26);
  exchange.end = "completed";
  exchange.request_stream.stalled = absl::Milliseconds(20);
  exchange.response_stream.stalled = absl::Milliseconds(8);
  const auto make = [&exchange](Output& out) {
    auto sink = std::make_unique<SummarySink>(Wide(160), false, out);
    sink->OnExchange(exchange);
    return sink;
  };
  const std::string shown = Shown(make, [](Tap&) {}, {160, false});
  EXPECT_NE(shown.find("out of credit 20.0ms,"), std::string::npos) << shown;
}

TEST(Golden, SaysNoMoreOfBodiesThanWasSeen) {
  Exchange exchange;
  exchange.began = absl::UnixEpoch();
  exchange.ended = exchange.began + absl::Milliseconds(20);
  exchange.end = "completed";
  exchange.has_missed = true;
  Exchange::Stream& stream = exchange.request_stream;
  stream.first = stream.last = exchange.began;
  stream.body_bytes = 3000;
  stream.frames = 2;
  stream.stalls.push_back({exchange.began, exchange.began + absl::Milliseconds(5)});
  stream.stalled = absl::Milliseconds(5);
  const std::string timeline = DrawTimeline(exchange, 100, Style());
  EXPECT_NE(timeline.find(" at least 2.9K\n"), std::string::npos) << timeline;
  EXPECT_NE(timeline.find(" at least 5.00ms\n"), std::string::npos) << timeline;
  const auto make = [&exchange](Output& out) {
    auto sink = std::make_unique<SummarySink>(Wide(100), false, out);
    sink->OnExchange(exchange);
    return sink;
  };
  const std::string summary = Shown(make, [](Tap&) {}, {100, false});
  EXPECT_NE(summary.find("  >2.9K     >0\n"), std::string::npos) << summary;
}

// Nobody has seen a receiver, nor heard that there was none.
TEST(Golden, TimelineDoesNotSayThatWasQueuedWhichMayHaveRun) {
  Exchange exchange;
  exchange.began = absl::UnixEpoch();
  exchange.ended = exchange.began + absl::Milliseconds(20);
  exchange.end = "deadline";
  exchange.may_have_run = true;
  EXPECT_NE(DrawTimeline(exchange, 100, Style()).find("queued, or handed out\n"), std::string::npos);
  exchange.attempt = 2;
  EXPECT_NE(DrawTimeline(exchange, 100, Style()).find("handed out "), std::string::npos);
  EXPECT_EQ(DrawTimeline(exchange, 100, Style()).find("queued"), std::string::npos);
  exchange.attempt = 0;
  exchange.may_have_run = false;
  exchange.end = "no_receiver";
  EXPECT_EQ(DrawTimeline(exchange, 100, Style()).find("queued"), std::string::npos);
}

TEST(Golden, SummaryCountsNoTimeOfWhatHasNoEnd) {
  Exchange exchange;
  exchange.began = absl::UnixEpoch();
  exchange.ended = exchange.began + absl::Seconds(4);
  exchange.end = "open";
  const auto make = [&exchange](Output& out) {
    auto sink = std::make_unique<SummarySink>(Wide(100), false, out);
    sink->OnExchange(exchange);
    return sink;
  };
  const std::string summary = Shown(make, [](Tap&) {}, {100, false});
  EXPECT_EQ(summary.find("4.0"), std::string::npos) << summary;
  EXPECT_NE(summary.find("1 open"), std::string::npos) << summary;
}

// ---- Whether everything is in it ---------------------------------------------------------------------------------

TEST(Golden, HasEveryTypeOfFrameThatTheProtocolHas) {
  const std::string json = ReadFile(std::string(GOLDEN_DIR) + "/frames.json");
  std::istringstream lines(ReadFile(PROTOCOL));
  std::string line;
  int types = 0;
  while (std::getline(lines, line)) {
    // | 7 | CHUNK | either | ...
    unsigned number = 0;
    char name[32] = "";
    if (std::sscanf(line.c_str(), "| %u | %31[A-Z] |", &number, name) != 2) continue;
    ++types;
    EXPECT_NE(json.find("\"type\":\"" + std::string(name) + "\",\"type_number\":" + std::to_string(number) + ","),
              std::string::npos)
        << name;
  }
  EXPECT_EQ(types, proto::kLastFrameType);
}

TEST(Golden, HasEveryEndThatTheServerHas) {
  const std::string json = ReadFile(std::string(GOLDEN_DIR) + "/frames.json");
  const std::vector<std::string> known = AllEndNames();
  for (size_t i = 1; i < server::kEndCount; ++i) {
    const std::string name(server::InfoOf(static_cast<server::End>(i)).name);
    EXPECT_NE(std::find(known.begin(), known.end(), name), known.end()) << name;
    EXPECT_NE(json.find("\"end\":\"" + name + "\""), std::string::npos) << name;
  }
}

TEST(Golden, JsonMdNamesEveryField) {
  const std::string page = ReadFile(JSON_MD);
  for (const std::span<const FieldInfo> all : {AllFields(), AllExchangeFields()}) {
    for (const FieldInfo& field : all) {
      bool is_named = false;
      for (const char before : {'`', ' '}) {
        for (const char behind : {'`', ' '}) {
          is_named = is_named || page.find(before + std::string(field.name) + behind) != std::string::npos;
        }
      }
      EXPECT_TRUE(is_named) << field.name;
    }
  }
}

// What is told of each direction has no hole and no overlap, from the first byte to the last.
TEST(Golden, AccountsForEveryByte) {
  std::map<std::string, uint64_t> next;
  std::istringstream lines(Json());
  std::string line;
  size_t checked = 0;
  const auto text = [&line](std::string_view name) {
    const std::string key = "\"" + std::string(name) + "\":";
    const size_t at = line.find(key);
    if (at == std::string::npos) return std::string();
    const size_t from = at + key.size();
    return line.substr(from, line.find_first_of(",}", from) - from);
  };
  while (std::getline(lines, line)) {
    const std::string kind = text("kind");
    if (kind != "\"frame\"" && kind != "\"preface\"" && kind != "\"skipped\"") continue;
    uint64_t bytes = std::stoull(text("bytes"));
    if (kind == "\"frame\"") bytes += proto::kHeaderBytes;
    uint64_t& at = next[text("connection") + text("direction")];
    EXPECT_EQ(std::stoull(text("offset")), at) << line;
    at += bytes;
    ++checked;
  }
  EXPECT_GT(checked, 200u);
}

}  // namespace
}  // namespace relay::inspect
