// One request, one response: unary URL CHANNEL TEXT prints what a receiver on CHANNEL makes of TEXT.

#include <chrono>
#include <iostream>

#include "relay/client.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: unary tcp://127.0.0.1:7420 CHANNEL TEXT\n";
    return 64;
  }
  auto connection = relay::Connection::Open(argv[1]);
  if (!connection.ok()) {
    std::cerr << connection.status() << "\n";
    return 1;
  }
  relay::Client client(*connection, argv[2]);
  relay::SendOptions options;
  options.timeout = std::chrono::seconds(10);
  options.content_type = "text/plain";

  const auto reply = client.Send(argv[3], options);
  if (!reply.ok()) {
    std::cerr << reply.status() << "\n";
    return 1;
  }
  std::cout << reply->body << "\n";
  return 0;
}
