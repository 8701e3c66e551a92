// Writes the session of the golden files as a pcapng, for those that test what else opens it:
//   session_capture FILE

#include <cstdio>

#include "inspect/session.h"
#include "tools/inspect/pcapng_writer.h"

int main(int argc, char** argv) {
  if (argc != 2) return 64;
  const auto tap = relay::inspect::CreatePcapng(argv[1], [](const absl::Status&) {});
  if (!tap.ok()) {
    std::fprintf(stderr, "%s\n", tap.status().ToString().c_str());
    return 1;
  }
  relay::inspect::TellSession(**tap);
  return (*tap)->Finish().ok() ? 0 : 1;
}
