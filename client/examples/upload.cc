// A streamed upload: upload URL CHANNEL < FILE sends standard input, however long, and prints the digest (FNV-1a) that
// the receiver made of it. "upload --serve URL CHANNEL" is that receiver, for one request.

#include <array>
#include <cstdint>
#include <iostream>
#include <string>

#include "relay/client.h"

int Fail(const relay::Status& status) {
  std::cerr << status << "\n";
  return 1;
}

int Upload(relay::Client& client) {
  auto exchange = client.Start();
  if (!exchange.ok()) return Fail(exchange.status());
  std::array<char, 64 * 1024> buffer;
  while (std::cin.read(buffer.data(), buffer.size()), std::cin.gcount() > 0) {
    // A receiver may answer early: then the rest is not wanted, and the response says why.
    if (!exchange->Write({buffer.data(), static_cast<size_t>(std::cin.gcount())}).ok()) break;
  }
  if (std::cin.bad()) exchange->Cancel(relay::DataLossError("cannot read standard input"));
  if (std::cin.eof()) exchange->FinishWriting().ok();
  const auto digest = exchange->ReadAll();
  if (!digest.ok()) return Fail(digest.status());
  std::cout << *digest << "\n";
  return 0;
}

int ServeOne(relay::Client& client) {
  auto request = client.Receive();
  if (!request.ok()) return Fail(request.status());
  std::array<char, 64 * 1024> buffer;
  uint64_t digest = 0xcbf29ce484222325;
  while (true) {
    const auto bytes = request->Read(buffer);
    if (!bytes.ok()) return Fail(bytes.status());
    if (*bytes == 0) break;
    for (size_t i = 0; i < *bytes; ++i) digest = (digest ^ static_cast<unsigned char>(buffer[i])) * 0x100000001b3;
  }
  const relay::Status status = request->Reply(std::to_string(digest));
  return status.ok() ? 0 : Fail(status);
}

int main(int argc, char** argv) {
  const bool serves = argc == 4 && std::string(argv[1]) == "--serve";
  if (argc != 3 && !serves) return Fail(relay::InvalidArgumentError("usage: upload [--serve] URL CHANNEL < FILE"));
  auto connection = relay::Connection::Open(argv[argc - 2]);
  if (!connection.ok()) return Fail(connection.status());
  relay::Client client(*connection, argv[argc - 1]);
  return serves ? ServeOne(client) : Upload(client);
}
