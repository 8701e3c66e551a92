#include "relay/uuid.h"

#include "client/wire.h"
#include "proto/uuid.h"

namespace relay {

Uuid Uuid::New() { return client::FromWire(proto::NewUuid()); }

std::optional<Uuid> Uuid::Parse(std::string_view text) {
  const auto id = proto::ParseUuid(text);
  if (!id.has_value()) return std::nullopt;
  return client::FromWire(*id);
}

std::string Uuid::ToString() const { return proto::ToString(client::ToWire(*this)); }

}  // namespace relay

size_t std::hash<relay::Uuid>::operator()(const relay::Uuid& id) const noexcept {
  return relay::proto::UuidHash()(relay::client::ToWire(id));
}
