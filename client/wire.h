// Between the types of the public headers and those of proto/.

#ifndef RELAY_CLIENT_WIRE_H_
#define RELAY_CLIENT_WIRE_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "proto/relay.pb.h"
#include "proto/uuid.h"
#include "relay/options.h"
#include "relay/status.h"
#include "relay/uuid.h"

namespace relay::client {

// The words of a status that travel; what is longer is cut. Leaves room for metadata in the smallest END that a server
// may take.
inline constexpr size_t kMaxMessageBytes = 1024;

proto::Uuid ToWire(const Uuid& id);
Uuid FromWire(const proto::Uuid& id);

// To the wire: code, message (cut, and made UTF-8 where it is not), retry_after; the rest is the server's to say.
void ToWire(const Status& status, v1::Status& wire);
Status FromWire(const v1::Status& wire);
Status FromAbsl(const absl::Status& status);

void ToWire(const Metadata& metadata, google::protobuf::RepeatedPtrField<v1::Field>& wire);
Metadata FromWire(const google::protobuf::RepeatedPtrField<v1::Field>& wire);

// The Start of a START as it goes out, or INVALID_ARGUMENT where a text is no UTF-8.
StatusOr<std::string> MakeStart(std::string_view method, std::string_view content_type, const Metadata& metadata);
Status StartTooLarge(size_t bytes, size_t most_bytes);

// INVALID_ARGUMENT with the rule, where a channel's name is none.
Status CheckChannel(std::string_view channel);

}  // namespace relay::client

#endif  // RELAY_CLIENT_WIRE_H_
