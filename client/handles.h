// What the public objects hold. They keep the connection alive, and their end is the end of what they stood for.

#ifndef RELAY_CLIENT_HANDLES_H_
#define RELAY_CLIENT_HANDLES_H_

#include <memory>
#include <utility>

#include "client/link.h"
#include "client/operation.h"
#include "relay/connection.h"
#include "relay/status.h"

namespace relay::client {

// A client, shared by the copies of its Client and whatever was made from them. The last to go leaves the channel.
// Thread-safe.
class ClientHandle {
 public:
  ClientHandle(std::shared_ptr<Connection> connection, std::shared_ptr<Participant> participant, Status channel_status)
      : connection_(std::move(connection)),
        participant_(std::move(participant)),
        channel_status_(std::move(channel_status)) {}
  ClientHandle(const ClientHandle&) = delete;
  ClientHandle& operator=(const ClientHandle&) = delete;
  ~ClientHandle() { participant_->link->Leave(participant_); }

  const std::shared_ptr<Participant>& participant() const { return participant_; }
  Link& link() const { return *participant_->link; }
  // Whether a blocking operation can begin.
  Status CheckMayBlock() const { return channel_status_.ok() ? participant_->link->CheckMayBlock() : channel_status_; }
  // Why no operation can begin: the channel's name is none.
  const Status& channel_status() const { return channel_status_; }

 private:
  const std::shared_ptr<Connection> connection_;
  const std::shared_ptr<Participant> participant_;
  const Status channel_status_;
};

// The right to an operation's exchange. Dropping it ends an exchange that runs. Thread-safe.
class OperationHandle {
 public:
  OperationHandle(std::shared_ptr<ClientHandle> client, std::shared_ptr<Operation> operation)
      : client_(std::move(client)), operation_(std::move(operation)) {}
  OperationHandle(const OperationHandle&) = delete;
  OperationHandle& operator=(const OperationHandle&) = delete;
  ~OperationHandle() { operation_->Drop(); }

  Operation& operation() const { return *operation_; }
  const std::shared_ptr<Operation>& shared_operation() const { return operation_; }

 private:
  const std::shared_ptr<ClientHandle> client_;
  const std::shared_ptr<Operation> operation_;
};

}  // namespace relay::client

#endif  // RELAY_CLIENT_HANDLES_H_
