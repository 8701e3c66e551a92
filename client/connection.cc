#include "relay/connection.h"

#include <utility>
#include <vector>

#include "client/link.h"
#include "client/wire.h"
#include "net/address.h"

namespace relay {

StatusOr<std::shared_ptr<Connection>> Connection::Open(std::string_view url, ConnectionOptions options) {
  std::vector<net::Address> addresses;
  while (true) {
    const size_t comma = url.find(',');
    auto address = net::ParseAddress(url.substr(0, comma));
    if (!address.ok()) return client::FromAbsl(address.status());
    addresses.push_back(*std::move(address));
    if (comma == std::string_view::npos) break;
    url.remove_prefix(comma + 1);
  }
  auto link = client::Link::Open(std::move(addresses), std::move(options));
  if (!link.ok()) return link.status();
  return std::shared_ptr<Connection>(new Connection(*std::move(link)));
}

Connection::Connection(std::shared_ptr<client::Link> link) : link_(std::move(link)) {}

Connection::~Connection() { link_->CloseForGood(); }

void Connection::Close() { link_->Close(); }

bool Connection::connected() const { return link_->is_up(); }

std::string Connection::url() const { return link_->url(); }

}  // namespace relay
