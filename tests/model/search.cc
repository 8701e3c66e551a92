#include "model/search.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "absl/strings/str_cat.h"

namespace relay::model {

namespace {

using ToldAt = std::vector<std::pair<Place, Told>>;

uint8_t BitOf(Event event) { return event.kind >= Kind::kDeadline ? uint8_t{0} : static_cast<uint8_t>(1 << event.who); }

std::string Words(const ToldAt& told) {
  std::string text;
  for (const auto& [place, frame] : told) {
    absl::StrAppend(&text, "    connection ", place.connection, " slot ", place.slot, ": ", frame.ToString(), "\n");
  }
  return text.empty() ? "    nothing\n" : text;
}

}  // namespace

Search::Search(const Shape& shape) : shape_(shape), root_(shape.rules) {
  setup_ = root_.Setup();
  root_.Forget();
}

std::vector<Event> Search::Next(const Model& model, uint8_t acted) const {
  std::vector<Event> next;
  for (const Kind kind : shape_.kinds) {
    for (int who = 0; who < (kind >= Kind::kDeadline ? 1 : kClients); ++who) {
      // The two of a kind are alike: the first of them acts first.
      if (who % 2 == 1 && (acted & (1 << (who - 1))) == 0) continue;
      if (model.CanHappen({kind, who})) next.push_back({kind, who});
    }
  }
  return next;
}

Search::Step Search::Apply(Model& model, Event event) {
  std::vector<Input> inputs = model.Apply(event);
  Step step{.event = event, .inputs = std::move(inputs), .now_ms = model.now_ms(), .turn_end = std::nullopt};
  const bool passes_time = event.kind == Kind::kDeadline || event.kind == Kind::kDrainOver;
  if (++steps_in_turn_ >= shape_.turn_steps || passes_time) {
    step.turn_end = EndTurn(model);
    steps_in_turn_ = 0;
  }
  return step;
}

Search::TurnEnd Search::EndTurn(Model& model) {
  model.EndTurn();
  TurnEnd end;
  for (int connection = 0; connection < model.connection_count(); ++connection) {
    end.is_cut.push_back(model.is_cut(connection));
    end.is_closed.push_back(model.is_closed(connection));
  }
  end.told = Seen(model.told(), end.is_cut);
  model.Forget();
  return end;
}

ToldAt Search::Seen(ToldAt told, const std::vector<char>& is_cut) {
  std::erase_if(told, [&](const auto& at) { return is_cut[static_cast<size_t>(at.first.connection)] != 0; });
  std::stable_sort(told.begin(), told.end(), [](const auto& a, const auto& b) {
    return std::pair(a.first.connection, a.first.slot) < std::pair(b.first.connection, b.first.slot);
  });
  return told;
}

bool Search::Judge(Model model) {
  if (steps_in_turn_ > 0) steps_.back().turn_end = EndTurn(model);
  Core core(shape_.rules);
  for (const Input& input : setup_) core.Do(input, 0);
  core.EndTurn(0);
  if (core.relay().client_count() != kClients) return Differ(0, "not all have joined");
  for (size_t i = 0; i < steps_.size(); ++i) {
    const Step& step = steps_[i];
    for (const Input& input : step.inputs) core.Do(input, step.now_ms);
    if (!step.turn_end.has_value()) continue;
    const TurnEnd& end = *step.turn_end;
    const ToldAt told = Seen(core.EndTurn(step.now_ms), end.is_cut);
    counts_.frames += told.size();
    if (!core.broken().empty()) return Differ(i, core.broken());
    if (told != end.told) {
      return Differ(i, absl::StrCat("the protocol says:\n", Words(end.told), "  the relay tells:\n", Words(told)));
    }
    for (size_t connection = 0; connection < end.is_closed.size(); ++connection) {
      const bool is_closed = end.is_closed[connection] != 0;
      if (core.is_closed(static_cast<int>(connection)) == is_closed) continue;
      return Differ(i, absl::StrCat("connection ", connection, is_closed ? " stays open" : " is closed"));
    }
  }
  if (steps_in_turn_ > 0) steps_.back().turn_end.reset();
  const server::Metrics& metrics = core.relay().metrics();
  if (metrics.exchanges_live != static_cast<uint64_t>(model.live_count())) {
    return Differ(steps_.size() - 1, "exchanges_live is wrong");
  }
  if (core.relay().client_count() != static_cast<size_t>(model.joined_count())) {
    return Differ(steps_.size() - 1, "the number of clients is wrong");
  }
  const std::string left = core.CheckNothingLeft(model.now_ms());
  return left.empty() || Differ(steps_.size() - 1, left);
}

bool Search::Differ(size_t step, const std::string& how) {
  failure_ = absl::StrCat(shape_.name, ":");
  for (const Step& taken : steps_) absl::StrAppend(&failure_, " ", ToString(taken.event));
  absl::StrAppend(&failure_, "\n  at event ", step + 1, " ", how);
  return false;
}

bool Search::Explore(const Model& model, uint8_t acted) {
  seen_.insert(model.Fingerprint());
  const std::vector<Event> next =
      static_cast<int>(steps_.size()) == shape_.steps ? std::vector<Event>() : Next(model, acted);
  // A beginning is judged as part of what it begins, unless its turn would end there alone.
  if (next.empty() || steps_in_turn_ > 0) {
    ++counts_.orders;
    counts_.alike += uint64_t{1} << (((acted & 0x3) != 0 ? 1 : 0) + ((acted & 0xc) != 0 ? 1 : 0));
    if (!Judge(model)) return false;
  }
  const int in_turn = steps_in_turn_;
  for (const Event event : next) {
    Model child = model;
    steps_in_turn_ = in_turn;
    steps_.push_back(Apply(child, event));
    if (!Explore(child, acted | BitOf(event))) return false;
    steps_.pop_back();
  }
  return true;
}

bool Search::RunOrders() {
  const bool agrees = Explore(root_, 0);
  counts_.states = seen_.size();
  return agrees;
}

bool Search::RunStates() {
  struct Node {
    std::vector<Event> path;
    uint8_t acted = 0;
  };
  std::deque<Node> frontier(1);
  seen_.insert(root_.Fingerprint());
  for (; !frontier.empty(); frontier.pop_front()) {
    const Node& node = frontier.front();
    Model model = root_;
    steps_.clear();
    steps_in_turn_ = 0;
    for (const Event event : node.path) steps_.push_back(Apply(model, event));
    const int in_turn = steps_in_turn_;
    for (const Event event : Next(model, node.acted)) {
      Model child = model;
      steps_in_turn_ = in_turn;
      steps_.push_back(Apply(child, event));
      ++counts_.transitions;
      if (!Judge(child)) return false;
      steps_.pop_back();
      // Whoever of a kind acted first matters no more where the state is known.
      if (!seen_.insert(absl::StrCat(steps_in_turn_, child.Fingerprint())).second) continue;
      if (static_cast<int>(steps_.size()) + 1 == shape_.steps) continue;
      frontier.push_back({node.path, static_cast<uint8_t>(node.acted | BitOf(event))});
      frontier.back().path.push_back(event);
    }
  }
  counts_.states = seen_.size();
  return true;
}

}  // namespace relay::model
