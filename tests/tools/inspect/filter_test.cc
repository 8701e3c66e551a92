#include "tools/inspect/filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "session.h"
#include "shown.h"
#include "tools/inspect/json_sink.h"

namespace relay::inspect {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// How many frames of the session match.
size_t Count(std::string_view text) {
  class Counter : public Sink {
   public:
    void OnFrame(const SeenFrame&) override { ++frames; }
    size_t frames = 0;
  };
  auto filter = Filter::Parse(text, Filter::Shown::kBoth);
  EXPECT_TRUE(filter.ok()) << filter.status();
  if (!filter.ok()) return 0;
  Counter counter;
  FilterSink sink(*std::move(filter), counter);
  Decoder decoder(sink, false);
  TellSession(decoder);
  EXPECT_TRUE(decoder.Finish().ok());
  return counter.frames;
}

std::string ErrorOf(std::string_view text, Filter::Shown shown = Filter::Shown::kBoth) {
  const auto filter = Filter::Parse(text, shown);
  return filter.ok() ? "" : std::string(filter.status().message());
}

TEST(Filter, ComparesTextNumbersAndTruth) {
  const size_t resets = Count("type==RESET");
  EXPECT_GT(resets, 20u);
  EXPECT_EQ(Count("type == RESET && channel == \"ends\"") + Count("type==RESET && channel!=\"ends\""), resets);
  EXPECT_EQ(Count("slot==300 || slot!=300"), Count("number>0"));
  EXPECT_EQ(Count("slot<300") + Count("slot>=300"), Count("number>0"));
  EXPECT_EQ(Count("slot<=300") + Count("slot>300"), Count("number>0"));
  EXPECT_EQ(Count("bytes>29K"), Count("bytes>29696"));
  EXPECT_EQ(Count("bytes>29K && body_bytes==30000"), 1u);
  EXPECT_EQ(Count("late==true"), Count("late"));
  EXPECT_GT(Count("late"), 0u);
  EXPECT_EQ(Count("late") + Count("late==false"), Count("number>0"));
  // The server says in each RESET what a client cannot know.
  const size_t ran = Count("type==RESET && may_have_run==true");
  const size_t ran_not = Count("type==RESET && may_have_run==false");
  EXPECT_GT(ran, 0u);
  EXPECT_GT(ran_not, 0u);
  EXPECT_EQ(ran + ran_not, Count("type==RESET && direction==to_client"));
  EXPECT_EQ(Count("may_have_run!=true"), ran_not);
}

TEST(Filter, NegatesAndGroups) {
  const size_t all = Count("number>0");
  EXPECT_EQ(Count("!type==PING"), all - Count("type==PING"));
  EXPECT_EQ(Count("!(type==PING || type==PONG)"), all - Count("type==PING") - Count("type==PONG"));
  // && binds before ||.
  EXPECT_EQ(Count("type==PING || type==PONG && slot==1"), Count("type==PING"));
  EXPECT_EQ(Count("(type==PING || type==PONG) && slot==1"), 0u);
}

TEST(Filter, ComparesATimeAsExactlyAsItIsWritten) {
  const size_t all = Count("number>0");
  EXPECT_EQ(Count("time==\"2024-10-04\""), all);
  EXPECT_EQ(Count("time<=\"2024-10-04T00:00\""), all);
  EXPECT_EQ(Count("time>\"2024-10-04T00:00\""), 0u);
  const size_t before = Count("time<\"2024-10-04T00:00:00.02\"");
  EXPECT_GT(before, 0u);
  EXPECT_LT(before, all);
  EXPECT_EQ(Count("time>=\"2024-10-04T00:00:00.02\""), all - before);
}

TEST(Filter, RefusesValuesThatNoFieldHas) {
  EXPECT_THAT(ErrorOf("direction==up"), HasSubstr("direction is one of to_server, to_client, at column 12"));
  EXPECT_THAT(ErrorOf("side!=server"), HasSubstr("side is one of sender, receiver, at column 7"));
  EXPECT_THAT(ErrorOf("status==CANCELED"), HasSubstr("no status 'CANCELED'; is it CANCELLED?, at column 9"));
  EXPECT_THAT(ErrorOf("status==lost", Filter::Shown::kExchanges), HasSubstr("no status 'lost', at column 9"));
  EXPECT_THAT(ErrorOf("type==chunk"), HasSubstr("no type 'chunk'; is it CHUNK?, at column 7"));
  EXPECT_THAT(ErrorOf("violation==slot_bus"), HasSubstr("is it slot_busy?"));
  EXPECT_THAT(ErrorOf("payload==broken"), HasSubstr("payload is one of parsed, cut, malformed, bad_start"));
  EXPECT_THAT(ErrorOf("mirror_kind==read"), HasSubstr("mirror_kind is one of READ, WRITTEN"));
  EXPECT_THAT(ErrorOf("time>noon"), HasSubstr("or the beginning of that, at column 6"));
  EXPECT_THAT(ErrorOf("time>\"2026-1-01\""), HasSubstr("time is as"));
  EXPECT_THAT(ErrorOf("time~\"2026\""), HasSubstr("'~' does not fit"));
  EXPECT_THAT(ErrorOf("flags==FIN"), HasSubstr("no flags 'FIN'; flags~FIN asks for a part of it, at column 8"));
  EXPECT_THAT(ErrorOf("flags==\"FIN|REQUEST\""), HasSubstr("no flags 'FIN|REQUEST'"));
  EXPECT_THAT(ErrorOf("end==no_reciever"), HasSubstr("is it no_receiver?, at column 6"));
  EXPECT_THAT(ErrorOf("end!=done", Filter::Shown::kExchanges), HasSubstr("no end 'done', at column 6"));
  EXPECT_THAT(ErrorOf("slot==65536"), HasSubstr("slot is at most 65535, at column 7"));
  EXPECT_THAT(ErrorOf("type_number>255K"), HasSubstr("type_number is at most 255, at column 13"));
  EXPECT_THAT(ErrorOf("type==END || request==zz"), HasSubstr("request is an id: a UUID, or the 8 digits that are shown "
                                                             "of it, at column 23"));
  EXPECT_THAT(ErrorOf("sender!=\"\"", Filter::Shown::kExchanges), HasSubstr("sender is an id"));
  EXPECT_EQ(ErrorOf("client==0123abcd && request~zz"), "");
  EXPECT_EQ(ErrorOf("slot==65535 || flags==\"REQUEST|FIN\" || flags==\"\""), "");
  EXPECT_EQ(ErrorOf("end==open || end==reset || end==completed", Filter::Shown::kExchanges), "");
  // What a later version may have.
  EXPECT_EQ(Count("type==\"type 77\""), 1u);
  EXPECT_EQ(ErrorOf("status==\"code 99\""), "");
}

TEST(Filter, KnowsAnIdByItsShortFormAndMetadataByItsKey) {
  const std::string id = proto::ToString(SomeId(101));
  EXPECT_GT(Count("request==" + id), 5u);
  EXPECT_EQ(Count("request==" + id), Count("request==" + id.substr(0, 8)));
  EXPECT_EQ(Count("metadata.user==ada"), 2u);
  EXPECT_EQ(Count("metadata.user~\"d\" && direction==to_server"), 1u);
  EXPECT_EQ(Count("metadata.nobody==ada"), 0u);
  EXPECT_EQ(Count("metadata.\"user\" == \"ada\""), 2u);
  EXPECT_EQ(Count("metadata.\"k\u00e4y \\\"1\\\"\""), 0u);
  EXPECT_THAT(ErrorOf("metadata.\"user==ada"), HasSubstr("this '\"' is not closed, at column 10"));
  EXPECT_GT(Count("flags~FIN"), 0u);
}

TEST(Filter, ErrorsPointAtTheColumn) {
  EXPECT_THAT(ErrorOf("type=RESET"), HasSubstr("equal is '==', at column 5"));
  EXPECT_THAT(ErrorOf("type=='RESET'"), HasSubstr("quotes of values are \", at column 7"));
  EXPECT_THAT(ErrorOf("type==RESET && chanel==\"jobs\""),
              StartsWith("--filter: no field 'chanel'; is it channel?, at column 16\n"
                         "  type==RESET && chanel==\"jobs\"\n"
                         "                 ^\n"
                         "fields of frames:\n"));
  EXPECT_EQ(ErrorOf("bytes>many"),
            "--filter: bytes is a number, as 4096 or 4K; 'many' is none, at column 7\n"
            "  bytes>many\n"
            "        ^");
  EXPECT_EQ(ErrorOf("type==RESTE"), "--filter: no type 'RESTE'; is it RESET?, at column 7\n  type==RESTE\n        ^");
  EXPECT_EQ(ErrorOf("(late"), "--filter: this '(' is not closed, at column 1\n  (late\n  ^");
  EXPECT_EQ(ErrorOf("channel==\"jobs"),
            "--filter: this '\"' is not closed, at column 10\n  channel==\"jobs\n           ^");
  EXPECT_EQ(ErrorOf("channel<jobs"),
            "--filter: channel is text: ==, != and ~ alone fit, at column 8\n  channel<jobs\n         ^");
  EXPECT_EQ(ErrorOf("late==maybe"), "--filter: late is true or false, at column 7\n  late==maybe\n        ^");
  EXPECT_EQ(ErrorOf("late late"), "--filter: here '&&' or '||' was expected, at column 6\n  late late\n       ^");
  EXPECT_EQ(ErrorOf("late &&"), "--filter: here the name of a field was expected, at column 8\n  late &&\n         ^");
  EXPECT_EQ(ErrorOf("bytes=="), "--filter: here a value for bytes was expected, at column 8\n  bytes==\n         ^");
  EXPECT_NE(ErrorOf(std::string(5000, '(')), "");
  EXPECT_NE(ErrorOf(std::string(5000, '!')), "");
  EXPECT_NE(ErrorOf(""), "");
}

TEST(Filter, RefusesFieldsThatNothingShownHas) {
  EXPECT_EQ(ErrorOf("end!=completed && type==RESET", Filter::Shown::kExchanges),
            "--filter: 'type' is a field of frames; here exchanges are shown, at column 19\n"
            "  end!=completed && type==RESET\n"
            "                    ^\n"
            "fields of exchanges:\n"
            "  time request channel channel_id method sender receiver attempt queue_wait_us\n"
            "  first_byte_us total_us request_bytes response_bytes request_stalled_us\n"
            "  response_stalled_us timeout_ms end status code message may_have_run\n"
            "  violations");
  EXPECT_THAT(ErrorOf("total_us>5", Filter::Shown::kFrames),
              StartsWith("--filter: 'total_us' is a field of exchanges; here frames are shown, at column 1\n"));
  EXPECT_THAT(ErrorOf("metadata.user==ada", Filter::Shown::kExchanges), HasSubstr("is a field of frames"));
  EXPECT_EQ(ErrorOf("channel==jobs && total_us>5 || type==RESET"), "");
}

// What is shown of the session, frames and all around them.
std::string Shown(std::string_view text) {
  return Shown(
      [text, inner = std::shared_ptr<Sink>()](Output& out) mutable {
        inner = std::make_shared<JsonSink>(JsonSink::Options{}, out);
        class Filtered : public FilterSink {
         public:
          Filtered(Filter filter, std::shared_ptr<Sink> to)
              : FilterSink(std::move(filter), *to), kept_(std::move(to)) {}

         private:
          std::shared_ptr<Sink> kept_;
        };
        return std::make_unique<Filtered>(*Filter::Parse(text, Filter::Shown::kBoth), inner);
      },
      TellSession);
}

TEST(Filter, LeavesOutConnectionsThatDoNotMatch) {
  const std::string resets = Shown("type==RESET");
  for (const char* const kind : {"open", "preface", "close", "exchange"}) {
    EXPECT_EQ(resets.find(absl::StrCat("{\"kind\":\"", kind, "\"")), std::string::npos) << kind;
  }
  const std::string of_one = Shown("connection==2 && direction!=to_client");
  EXPECT_NE(of_one.find("{\"kind\":\"preface\""), std::string::npos);
  EXPECT_EQ(of_one.find("\"connection\":1,"), std::string::npos);
  // What is wrong is not hidden.
  EXPECT_NE(resets.find("{\"kind\":\"damage\""), std::string::npos);
}

TEST(Filter, TellsTimesFromTheBeginningOfTheTraceAndNotOfWhatIsLeft) {
  class Beginning : public Sink {
   public:
    void OnBegin(absl::Time at) override { began = at; }
    void OnFrame(const SeenFrame& frame) override { first = std::min(first, frame.at); }
    absl::Time began;
    absl::Time first = absl::InfiniteFuture();
  };
  Beginning beginning;
  FilterSink sink(*Filter::Parse("type==RESET", Filter::Shown::kFrames), beginning);
  Decoder decoder(sink, false);
  TellSession(decoder);
  EXPECT_EQ(beginning.first - beginning.began, absl::Milliseconds(41));
}

// What a frame says of itself is in the list that the filter and JSON.md go by.
TEST(Filter, KnowsEveryFieldThatAFrameHas) {
  class Names : public Sink {
   public:
    void OnFrame(const SeenFrame& frame) override {
      for (const Field& field : FieldsOf(frame)) {
        bool is_known = false;
        for (const FieldInfo& known : AllFields()) is_known = is_known || known.name == field.name;
        EXPECT_TRUE(is_known) << field.name;
        EXPECT_EQ(FieldOf(frame, field.name), field.value) << field.name;
      }
    }
  };
  Names names;
  Decoder decoder(names, false);
  TellSession(decoder);
  EXPECT_TRUE(decoder.Finish().ok());
}

}  // namespace
}  // namespace relay::inspect
