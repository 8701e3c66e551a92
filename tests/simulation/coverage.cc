#include "simulation/coverage.h"

#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"

namespace relay::simulation {
namespace {

using Count = std::pair<std::string_view, uint64_t Coverage::*>;
constexpr Count kCounts[] = {{"seeds", &Coverage::seeds},
                             {"events", &Coverage::events},
                             {"turns", &Coverage::turns},
                             {"reads that were put off", &Coverage::put_off},
                             {"frames read", &Coverage::frames_read},
                             {"frames late", &Coverage::frames_late},
                             {"frames of unknown types", &Coverage::frames_unknown},
                             {"requests accepted", &Coverage::accepted},
                             {"assignments", &Coverage::assignments},
                             {"redeliveries", &Coverage::redeliveries},
                             {"deadlines moved", &Coverage::extensions},
                             {"sheds", &Coverage::sheds},
                             {"WINDOWs kept back, then told", &Coverage::windows_withheld},
                             {"WINDOWs owed, then told", &Coverage::windows_owed},
                             {"receivers passed over", &Coverage::passed_over},
                             {"of them given a request then", &Coverage::went_on},
                             {"of them in line again", &Coverage::lined_up},
                             {"WINDOWs owed to a lost receiver", &Coverage::windows_dropped},
                             {"WINDOWs of a response handed on", &Coverage::early_windows},
                             {"connections cut together", &Coverage::cut_together},
                             {"MIRRORs", &Coverage::mirrors},
                             {"MIRRORs lost", &Coverage::mirrors_lost},
                             {"drains", &Coverage::drains},
                             {"starved requests", &Coverage::starved}};

}  // namespace

void Coverage::Add(const Coverage& other) {
  for (const auto& [name, count] : kCounts) this->*count += other.*count;
  for (size_t i = 0; i < ends.size(); ++i) ends[i] += other.ends[i];
  trace += other.trace;
  undecided += other.undecided;
}

std::string Coverage::Text() const {
  std::string text;
  for (const auto& [name, count] : kCounts) absl::StrAppendFormat(&text, "%-32s %14d\n", name, this->*count);
  if (undecided > 0) absl::StrAppendFormat(&text, "%-32s %14d\n", "worlds that ended early", undecided);
  for (size_t i = 1; i < ends.size(); ++i) {
    absl::StrAppendFormat(&text, "end %-28s %14d\n", server::InfoOf(static_cast<server::End>(i)).name, ends[i]);
  }
  absl::StrAppendFormat(&text, "%-32s %016x\n", "trace", trace);
  return text;
}

std::string Coverage::Missing() const {
  std::string missing;
  for (const auto& [name, count] : kCounts) {
    if (this->*count == 0) missing += "no " + std::string(name) + "\n";
  }
  for (size_t i = 1; i < ends.size(); ++i) {
    if (ends[i] == 0) missing += "no end " + std::string(server::InfoOf(static_cast<server::End>(i)).name) + "\n";
  }
  return missing;
}

}  // namespace relay::simulation
