// What is shown of a session with every type of frame and every end, against files that people have looked at. A change
// of the wire, or of the looks, changes them: write them again and look at the difference.
//
//   RELAY_WRITE_GOLDEN=1 build/dev/tests/tools/inspect_test --gtest_filter='Golden.*'

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>

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
  return Shown([&](Output& out) { return std::make_unique<S>(options, out); }, tell);
}

std::string Json() {
  return Shown([](Output& out) { return std::make_unique<JsonSink>(JsonSink::Options{}, out); }, TellSession);
}

TEST(Golden, FramesIn100Columns) { ExpectGolden("frames_100.txt", ShownIn<TextSink>(Wide(100), TellSession)); }

TEST(Golden, FramesIn80Columns) { ExpectGolden("frames_80.txt", ShownIn<TextSink>(Wide(80), TellSession)); }

TEST(Golden, FramesIn160Columns) { ExpectGolden("frames_160.txt", ShownIn<TextSink>(Wide(160), TellSession)); }

TEST(Golden, FramesWithAllOfTheirFields) {
  TextOptions options = Wide(100);
  options.is_verbose = true;
  options.dump_bytes = 64;
  const auto tell = [](Tap& tap) { TellSession(tap); };
  const std::string shown = ShownIn<TextSink>(options, tell);
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
  const auto shown = [](TextOptions options) {
    return Shown(
        [&](Output& out) { return std::make_unique<TimelineSink>(proto::ToString(SomeId(900)), options, out); },
        TellSlowExchange);
  };
  ExpectGolden("timeline_100.txt", shown(Wide(100)));
  TextOptions ascii = Wide(80);
  ascii.style.is_ascii = true;
  ExpectGolden("timeline_ascii.txt", shown(ascii));
}

TEST(Golden, Summary) {
  const auto shown = [](size_t width) {
    return Shown([&](Output& out) { return std::make_unique<SummarySink>(Wide(width), false, out); }, TellSession);
  };
  ExpectGolden("summary_100.txt", shown(100));
  ExpectGolden("summary_80.txt", shown(80));
}

TEST(Golden, NoLineIsLongerThanTheWidth) {
  for (const size_t width : {size_t{80}, size_t{100}, size_t{160}}) {
    std::istringstream lines(ShownIn<TextSink>(Wide(width), TellSession));
    std::string line;
    while (std::getline(lines, line)) EXPECT_LE(Columns(line), width) << line;
  }
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
  for (size_t i = 1; i < server::kEndCount; ++i) {
    const std::string name(server::InfoOf(static_cast<server::End>(i)).name);
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
