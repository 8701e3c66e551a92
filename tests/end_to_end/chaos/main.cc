// `chaos kills` and `chaos soak`: the relay and its clients as processes, at random load, under what kills them.

#include <CLI/CLI.hpp>
#include <csignal>
#include <map>
#include <random>
#include <string>

#include "cast.h"
#include "kills.h"
#include "soak.h"

int main(int argc, char** argv) {
  using Role = relay::chaos::LoadOptions::Role;
  std::signal(SIGPIPE, SIG_IGN);
  CLI::App app("Whether what senders and receivers see stays true whatever dies", "chaos");
  app.require_subcommand(1);
  uint64_t seed = std::random_device()();
  app.add_option("--seed", seed, "of all that is drawn at random; a new one, which is printed, where none is given");
  app.fallthrough();

  relay::chaos::KillOptions kills;
  CLI::App& kills_command = *app.add_subcommand("kills", "end relayd at random moments and start it again");
  kills_command.add_option("--kills", kills.kills, "how often")->capture_default_str();
  kills_command.add_option("--most-ms", kills.most_ms, "the longest time between two")->capture_default_str();
  kills_command.add_option("--relays", kills.relays, "that clients know")
      ->capture_default_str()
      ->check(CLI::Range(1, 9));
  kills_command.add_option("--drain-percent", kills.drain_percent, "so many are SIGTERM, half of them twice")
      ->capture_default_str();
  kills_command.add_option("--actors-percent", kills.actors_percent, "so many of them take a sender or receiver too")
      ->capture_default_str();

  relay::chaos::SoakOptions soak;
  CLI::App& soak_command = *app.add_subcommand("soak", "load through a network with faults, and nothing may grow");
  soak_command.add_option("--seconds", soak.seconds, "of load")->capture_default_str();
  soak_command.add_option("--phases", soak.phases, "that it is cut into, with quiet behind each")
      ->capture_default_str()
      ->check(CLI::Range(3, 1000));

  relay::chaos::LoadOptions load;
  CLI::App& act_command = *app.add_subcommand("act", "");
  act_command.group("");  // for this program's own use
  act_command.add_option("--role", load.role)
      ->transform(CLI::Transformer(std::map<std::string, Role>{{"send", Role::kSend}, {"receive", Role::kReceive}}));
  act_command.add_option("--url", load.url);
  act_command.add_option("--actor", load.actor);
  act_command.add_option("--connections", load.connections);
  act_command.add_option("--clients", load.clients);
  CLI11_PARSE(app, argc, argv);

  kills.seed = soak.seed = load.seed = seed;
  if (act_command) return relay::chaos::RunActor(load);
  return soak_command ? relay::chaos::RunSoak(soak) : relay::chaos::RunKills(kills);
}
