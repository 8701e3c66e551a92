// What a sink writes of what is told, as text.

#ifndef RELAY_TESTS_TOOLS_INSPECT_SHOWN_H_
#define RELAY_TESTS_TOOLS_INSPECT_SHOWN_H_

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "tools/inspect/decoder.h"
#include "tools/inspect/output.h"
#include "tools/inspect/seen.h"

namespace relay::inspect {

// `make` gives the sink for an output, `tell` tells the decoder.
inline std::string Shown(const std::function<std::unique_ptr<Sink>(Output&)>& make,
                         const std::function<void(Tap&)>& tell, Screen screen = {}) {
  const int fd = memfd_create("shown", MFD_CLOEXEC);
  EXPECT_GE(fd, 0);
  {
    Output out(
        fd, false, [] { ADD_FAILURE() << "cannot write"; }, screen);
    const std::unique_ptr<Sink> sink = make(out);
    Decoder decoder(*sink, false);
    tell(decoder);
    EXPECT_TRUE(decoder.Finish().ok());
  }
  std::string text(static_cast<size_t>(lseek(fd, 0, SEEK_END)), '\0');
  EXPECT_EQ(pread(fd, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  close(fd);
  return text;
}

}  // namespace relay::inspect

#endif  // RELAY_TESTS_TOOLS_INSPECT_SHOWN_H_
