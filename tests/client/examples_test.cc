// The example programs, run as a reader would run them.

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdint>
#include <string>

#include "client/relayd_process.h"
#include "client/support.h"

namespace relay::testing {
namespace {

TEST(Examples, UnaryAsksAWorkerPool) {
  const Relayd relayd;
  Process pool({WORKER_POOL_PATH, relayd.url(), "shout", "2", "3"});
  for (const std::string word : {"one", "two"}) {
    Process unary({UNARY_PATH, relayd.url(), "shout", word});
    EXPECT_EQ(unary.ReadLine(), word == "one" ? "ONE" : "TWO");
    EXPECT_EQ(unary.Wait(), 0);
  }
  Process last({UNARY_PATH, relayd.url(), "shout", "three"});
  EXPECT_EQ(last.Wait(), 0);
  EXPECT_EQ(pool.Wait(), 0) << "it was to answer three requests";
}

TEST(Examples, UploadIsDigestedOnTheOtherSide) {
  const Relayd relayd;
  const std::string body = Body(3'000'000, 1);
  char path[] = "/tmp/relay-upload-XXXXXX";
  const int file = mkstemp(path);
  ASSERT_EQ(write(file, body.data(), body.size()), static_cast<ssize_t>(body.size()));
  close(file);
  uint64_t digest = 0xcbf29ce484222325;
  for (const char c : body) digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3;

  Process receiver({UPLOAD_PATH, "--serve", relayd.url(), "digests"});
  Process sender({UPLOAD_PATH, relayd.url(), "digests"}, path);
  EXPECT_EQ(sender.ReadLine(), std::to_string(digest));
  EXPECT_EQ(sender.Wait(), 0);
  EXPECT_EQ(receiver.Wait(), 0);
  unlink(path);
}

TEST(Examples, SayWhyTheyFail) {
  Process unary({UNARY_PATH, "tcp://127.0.0.1:1", "nobody", "x"});
  EXPECT_EQ(unary.Wait(), 1);
}

}  // namespace
}  // namespace relay::testing
