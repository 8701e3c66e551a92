// A pool of workers: worker_pool URL CHANNEL THREADS [REQUESTS] answers each request with its body in capitals, until
// it has answered REQUESTS of them, or without end.

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <iostream>
#include <string>

#include "relay/serve.h"

relay::Status Work(relay::Request& request) {
  auto body = request.ReadAll();
  if (!body.ok()) return body.status();
  std::transform(body->begin(), body->end(), body->begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return request.Reply(*body);
}

int main(int argc, char** argv) {
  const int threads = argc > 3 ? std::atoi(argv[3]) : 0;
  const int requests = argc > 4 ? std::atoi(argv[4]) : 0;
  if (argc < 4 || argc > 5 || threads < 1 || requests < 0) {
    std::cerr << "usage: worker_pool tcp://127.0.0.1:7420 CHANNEL THREADS [REQUESTS]\n";
    return 64;
  }
  relay::ConnectionOptions options;
  options.on_change = [](const relay::Status& status) {
    std::cerr << (status.ok() ? "connected again" : status.ToString()) << "\n";
  };
  auto connection = relay::Connection::Open(argv[1], options);
  if (!connection.ok()) {
    std::cerr << connection.status() << "\n";
    return 1;
  }
  relay::ServeOptions serve;
  serve.concurrency = static_cast<size_t>(threads);
  serve.max_requests = static_cast<size_t>(requests);
  auto pool = relay::Serve(*connection, argv[2], serve, Work);
  const relay::Status end = pool.ok() ? (*pool)->Wait() : pool.status();
  if (!end.ok()) std::cerr << end << "\n";
  return end.ok() ? 0 : 1;
}
