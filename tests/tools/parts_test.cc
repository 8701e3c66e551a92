// The parts of the command that need no server: exit codes, the environment of a command, its last line, percentiles,
// the line of progress.

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "tools/relay/environment.h"
#include "tools/relay/exit_codes.h"
#include "tools/relay/histogram.h"
#include "tools/relay/last_line.h"
#include "tools/relay/progress.h"

namespace relay::tools {
namespace {

using std::chrono::microseconds;

TEST(ExitCodes, AreOneForEachStatusAndClearOfOthers) {
  EXPECT_EQ(ExitCodeOf(StatusCode::kOk), 0);
  std::set<int> codes = {kExitOk, kExitUsage, kExitNoInput, kExitIo};
  for (int code = 1; code <= 16; ++code) {
    const int exit_code = ExitCodeOf(static_cast<StatusCode>(code));
    EXPECT_EQ(exit_code, 10 + code);
    EXPECT_TRUE(codes.insert(exit_code).second);
    EXPECT_LT(exit_code, 64);
  }
}

bool Holds(const std::vector<std::string>& environment, const std::string& variable) {
  return std::find(environment.begin(), environment.end(), variable) != environment.end();
}

TEST(Environment, SaysWhatTheRequestIs) {
  RequestInfo info;
  info.method = "resize";
  info.content_type = "image/png";
  info.attempt = 2;
  const auto environment = CommandEnvironment(info, "thumbnails", std::chrono::milliseconds(1500), {});
  EXPECT_TRUE(Holds(environment, "RELAY_CHANNEL=thumbnails"));
  EXPECT_TRUE(Holds(environment, "RELAY_METHOD=resize"));
  EXPECT_TRUE(Holds(environment, "RELAY_CONTENT_TYPE=image/png"));
  EXPECT_TRUE(Holds(environment, "RELAY_ATTEMPT=2"));
  EXPECT_TRUE(Holds(environment, "RELAY_TIMEOUT_MS=1500"));
  EXPECT_TRUE(Holds(environment, "RELAY_REQUEST_ID=00000000-0000-0000-0000-000000000000"));
}

TEST(Environment, MakesNamesOfKeys) {
  EXPECT_EQ(MetadataVariable("page-size"), "RELAY_META_PAGE_SIZE");
  EXPECT_EQ(MetadataVariable("a=b\n"), "RELAY_META_A_B_");
  EXPECT_EQ(MetadataVariable("x\xc3\xbc"), "RELAY_META_X__");
}

TEST(Environment, JoinsValuesOfOneNameInTheirOrder) {
  RequestInfo info;
  info.metadata = {{"tag", "1"}, {"other", "x"}, {"TAG", "2"}, {"tag", "3"}};
  const auto environment = CommandEnvironment(info, "c", std::nullopt, {});
  EXPECT_TRUE(Holds(environment, "RELAY_META_TAG=1\n2\n3"));
  EXPECT_TRUE(Holds(environment, "RELAY_META_OTHER=x"));
}

TEST(Environment, LeavesOutWhatItCannotHold) {
  RequestInfo info;
  info.metadata = {{"nul", std::string("a\0b", 3)}};
  for (const std::string& variable : CommandEnvironment(info, "c", std::nullopt, {})) {
    EXPECT_FALSE(variable.starts_with("RELAY_META_")) << variable;
  }
}

TEST(Environment, KeepsWhatIsInheritedButForItsOwnNames) {
  const std::vector<std::string> inherited = {"PATH=/bin",        "RELAY_META_OLD=1",    "RELAY_TIMEOUT_MS=1",
                                              "RELAY_METHOD=old", "RELAY_SERVER=unix:x", "RELAY_METHODS=kept"};
  const auto environment = CommandEnvironment({}, "c", std::nullopt, inherited);
  EXPECT_TRUE(Holds(environment, "PATH=/bin"));
  EXPECT_TRUE(Holds(environment, "RELAY_SERVER=unix:x"));
  EXPECT_TRUE(Holds(environment, "RELAY_METHODS=kept"));
  EXPECT_TRUE(Holds(environment, "RELAY_METHOD="));
  EXPECT_FALSE(Holds(environment, "RELAY_META_OLD=1"));
  EXPECT_FALSE(Holds(environment, "RELAY_TIMEOUT_MS=1"));
}

std::string LastLineOf(const std::vector<std::string>& pieces) {
  LastLine last;
  for (const std::string& piece : pieces) last.Add(piece);
  return last.Get();
}

TEST(LastLine, IsTheLastThatIsNotBlank) {
  EXPECT_EQ(LastLineOf({}), "");
  EXPECT_EQ(LastLineOf({"\n \n"}), "");
  EXPECT_EQ(LastLineOf({"one\ntwo\n"}), "two");
  EXPECT_EQ(LastLineOf({"one\ntwo"}), "two");
  EXPECT_EQ(LastLineOf({"one\r\n\n  \t\r\n"}), "one");
}

TEST(LastLine, IsTheSameInWhateverPiecesItComes) {
  const std::string text = "first\nsecond line\n\nthird\n \n";
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    EXPECT_EQ(LastLineOf({text.substr(0, cut), text.substr(cut)}), "third") << cut;
  }
}

TEST(LastLine, IsBounded) {
  const size_t most = LastLine::kMaxBytes;
  EXPECT_EQ(LastLineOf({std::string(most, 'a')}), std::string(most, 'a'));
  EXPECT_EQ(LastLineOf({std::string(most, 'a'), "b", "c\n"}), std::string(most, 'a'));
  EXPECT_EQ(LastLineOf({std::string(100000, 'a') + "\nb\n"}), "b");
}

TEST(Histogram, OfNothingIsZero) { EXPECT_EQ(Histogram().Percentile(0.5), microseconds(0)); }

TEST(Histogram, IsExactBelow64Microseconds) {
  Histogram histogram;
  for (int i = 0; i < 64; ++i) histogram.Add(microseconds(i));
  EXPECT_EQ(histogram.Percentile(0), microseconds(0));
  EXPECT_EQ(histogram.Percentile(0.5), microseconds(31));
  EXPECT_EQ(histogram.Percentile(1), microseconds(63));
}

TEST(Histogram, CountsToTheNextWholeOne) {
  Histogram histogram;
  for (const int value : {1, 2, 3}) histogram.Add(microseconds(value));
  EXPECT_EQ(histogram.Percentile(0.5), microseconds(2));
  EXPECT_EQ(histogram.Percentile(0.9), microseconds(3));
}

TEST(Histogram, IsNeverBelowTheValueAndAtMostTwoPercentAbove) {
  for (int64_t value = 1; value < int64_t{1} << 39; value += 1 + value / 7) {
    Histogram histogram;
    histogram.Add(microseconds(value));
    const auto top = std::chrono::duration_cast<microseconds>(histogram.Percentile(0.99)).count();
    EXPECT_GE(top, value);
    EXPECT_LE(static_cast<double>(top), static_cast<double>(value) * 1.02);
  }
}

TEST(Histogram, TakesTheLongestTimeThereIs) {
  Histogram histogram;
  histogram.Add(std::chrono::nanoseconds::max());
  histogram.Add(std::chrono::nanoseconds(-1));
  EXPECT_EQ(histogram.Percentile(0.5), microseconds(0));
  EXPECT_GE(histogram.Percentile(1), std::chrono::hours(24));
}

TEST(ProgressText, SaysHowFarAndHowFast) {
  EXPECT_EQ(ProgressText({2 << 20, 8 << 20, 1 << 20, std::chrono::seconds(2)}),
            "sent 2.0 MiB of 8.0 MiB (25%), received 1.0 MiB, 1.0 MiB/s, 2.0 s");
  EXPECT_EQ(ProgressText({2 << 20, std::nullopt, 0, std::chrono::seconds(2)}),
            "sent 2.0 MiB, received 0 B, 1.0 MiB/s, 2.0 s");
}

TEST(ProgressText, FitsATerminal) {
  const uint64_t most = std::numeric_limits<uint64_t>::max();
  EXPECT_LT(ProgressText({1023, 1023, 1023, std::chrono::nanoseconds(1)}).size(), 80u);
  EXPECT_LT(ProgressText({most, most, most, std::chrono::hours(999)}).size(), 80u);
}

}  // namespace
}  // namespace relay::tools
