#include "history.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

namespace relay::chaos {
namespace {

const char* NameOf(Event::Kind kind) {
  switch (kind) {
    case Event::Kind::kBegin:
      return "begin";
    case Event::Kind::kNamed:
      return "named";
    case Event::Kind::kEnd:
      return "end";
    case Event::Kind::kDelivered:
      return "delivered";
    case Event::Kind::kBodyRead:
      return "body_read";
    case Event::Kind::kAnswer:
      return "answer";
    case Event::Kind::kAnswered:
      return "answered";
  }
  return "?";
}

}  // namespace

std::string ToString(const Event& event) {
  char line[256];
  std::snprintf(line, sizeof(line),
                "%13.3f ms actor=%u key=%016llx %-9s sum=%016llx request=%.8s delivery=%u attempt=%u code=%s%s%s "
                "timeout_ms=%u",
                static_cast<double>(event.at_us) / 1000, event.actor, static_cast<unsigned long long>(event.key),
                NameOf(event.kind), static_cast<unsigned long long>(event.sum), event.request.ToString().c_str(),
                event.delivery, event.attempt, std::string(NameOf(event.code)).c_str(),
                event.is_idempotent ? " idempotent" : "", event.may_have_run ? " may_have_run" : "", event.timeout_ms);
  return line;
}

uint64_t SumOf(std::string_view bytes) {
  uint64_t sum = 0x9e3779b97f4a7c15U + bytes.size();
  const auto mix = [&sum](uint64_t word) {
    sum = (sum ^ word) * 0xff51afd7ed558ccdU;
    sum ^= sum >> 32;
  };
  for (; bytes.size() >= 8; bytes.remove_prefix(8)) {
    uint64_t word;
    std::memcpy(&word, bytes.data(), 8);
    mix(word);
  }
  for (const char c : bytes) mix(static_cast<uint8_t>(c));
  return sum;
}

int64_t NowUs() {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

Recorder::Recorder(const std::string& path, uint32_t actor)
    : file_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600)), actor_(actor) {
  if (file_ >= 0) return;
  std::perror(path.c_str());
  std::abort();
}

Recorder::~Recorder() { close(file_); }

void Recorder::Write(Event event) {
  event.at_us = NowUs();
  event.actor = actor_;
  ssize_t written;
  do {
    written = write(file_, &event, sizeof(event));
  } while (written < 0 && errno == EINTR);
  if (written == sizeof(event)) return;
  std::perror("write of a history");
  std::abort();
}

History LoadHistory(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  History history;
  Event event;
  while (file.read(reinterpret_cast<char*>(&event), sizeof(event))) history.push_back(event);
  return history;
}

}  // namespace relay::chaos
