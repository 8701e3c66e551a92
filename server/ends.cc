#include "server/ends.h"

#include <array>

namespace relay::server {
namespace {

using Code = absl::StatusCode;

constexpr std::array<EndInfo, kEndCount> kEnds = {{
    {Code::kOk, "none", ""},

    {Code::kOk, "completed", "the response ended"},
    {Code::kDeadlineExceeded, "deadline", "the request's time has passed"},
    {Code::kResourceExhausted, "queue_count", "the channel's queue holds as many requests as it may"},
    {Code::kResourceExhausted, "queue_bytes", "the channel's queue holds as many bytes as it may"},
    {Code::kResourceExhausted, "queue_bytes_total", "the server's queues hold as many bytes as they may"},
    {Code::kCancelled, "sender_reset", "the sender reset the request"},
    {Code::kCancelled, "sender_lost", "the sender left or its connection died"},
    {Code::kUnavailable, "receiver_reset", "the receiver reset the request"},
    {Code::kUnavailable, "receiver_lost", "the receiver left or its connection died"},
    {Code::kUnavailable, "no_receiver", "no receiver waits or works on the channel"},
    {Code::kInvalidArgument, "second_start", "a stream has one START"},
    {Code::kInvalidArgument, "not_started", "a stream begins with START"},
    {Code::kInvalidArgument, "after_end", "nothing comes after the end of a stream"},
    {Code::kInvalidArgument, "start_too_large", "Start has at most max_start_bytes"},
    {Code::kInvalidArgument, "end_too_large", "the payload of END has at most max_start_bytes"},
    {Code::kInvalidArgument, "window_too_far",
     "WINDOW reaches at most max_window_bytes beyond what the stream has cost"},
    {Code::kResourceExhausted, "window_overrun", "the stream cost more than its window"},
    {Code::kUnavailable, "stopping", "the server stops"},

    {Code::kResourceExhausted, "memory", "the server is short of memory"},
    {Code::kFailedPrecondition, "slot_not_joined", "no client is joined on this slot"},
    {Code::kFailedPrecondition, "slot_busy", "the client on this slot is in the middle of an operation"},
    {Code::kFailedPrecondition, "connection_leaving", "the connection has said GOAWAY: no new operation"},
    {Code::kAlreadyExists, "id_live", "a request with this id is live on the channel"},

    {Code::kOk, "left", "the client left"},
    {Code::kAborted, "taken_over", "a later JOIN with the same key took the client over"},
    {Code::kAlreadyExists, "client_live", "a client with this id is live on the channel"},
    {Code::kResourceExhausted, "client_limit", "the connection has max_clients_per_connection"},
    {Code::kResourceExhausted, "max_clients", "the server has max_clients"},
    {Code::kResourceExhausted, "channel_limit", "the server has max_channels"},

    {Code::kOk, "peer_closed", "the peer closed the connection"},
    {Code::kUnavailable, "peer_lost", "the connection broke"},
    {Code::kOk, "goaway", "the peer said GOAWAY and what it ran has ended"},
    {Code::kInvalidArgument, "bad_preface", "a connection opens with the 8 bytes \"RELAY/1\\n\""},
    {Code::kUnimplemented, "bad_version", "this server speaks version 1"},
    {Code::kInvalidArgument, "before_hello", "the first frame is HELLO"},
    {Code::kInvalidArgument, "second_hello", "a connection has one HELLO"},
    {Code::kPermissionDenied, "observer", "this server does not allow observers"},
    {Code::kInvalidArgument, "bad_header", "a field of the header breaks a rule"},
    {Code::kInvalidArgument, "payload_too_large",
     "a payload has at most max_payload_bytes, HELLO with its header hello_bytes"},
    {Code::kInvalidArgument, "malformed", "the payload does not parse as its type's message"},
    {Code::kInvalidArgument, "server_frame", "WELCOME and MIRROR are the server's to send"},
    {Code::kInvalidArgument, "bad_start", "the start block breaks a rule"},
    {Code::kInvalidArgument, "slot_bound", "a slot is bound to one client at a time"},
    {Code::kInvalidArgument, "observer_role", "OBSERVE is an observer's to send, and an observer joins no client"},
    {Code::kInvalidArgument, "channel_name", "the channel's name gives its id"},
    {Code::kDeadlineExceeded, "hello_timeout", "HELLO did not come in time"},
    {Code::kUnavailable, "heartbeat", "nothing was read for heartbeat_interval x heartbeat_misses"},
    {Code::kResourceExhausted, "partial_frame_bytes_total",
     "its frame has been coming longest, and all such hold partial_frame_bytes_total"},
    {Code::kResourceExhausted, "send_queue", "the peer does not read: its send queue is over send_queue_bytes"},
    {Code::kResourceExhausted, "send_queue_bytes_total",
     "the peer reads least, and all send queues are over send_queue_bytes_total"},
    {Code::kResourceExhausted, "control_frames_owed", "the peer asks and does not read the answers"},
    {Code::kResourceExhausted, "max_connections", "the server has max_connections"},
    {Code::kResourceExhausted, "max_unauthenticated", "the server waits for HELLO on max_unauthenticated connections"},
    {Code::kResourceExhausted, "max_observers", "the server has max_observers"},
    {Code::kResourceExhausted, "frames_per_second", "the connection sends more than frames_per_second"},
    {Code::kResourceExhausted, "resets_per_second", "the connection resets, or draws errors, too often"},
    {Code::kResourceExhausted, "control_frames_per_second",
     "the connection joins, leaves, asks or sends what is dropped too often"},
}};

}  // namespace

const EndInfo& InfoOf(End end) { return kEnds[static_cast<size_t>(end)]; }

bool IsFaultless(End end) {
  return end == End::kQueueCount || end == End::kQueueBytes || end == End::kQueueBytesTotal || end == End::kMemory ||
         end == End::kNoReceiver || end == End::kStopping;
}

}  // namespace relay::server
