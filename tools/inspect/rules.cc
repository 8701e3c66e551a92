#include "tools/inspect/rules.h"

#include <array>

namespace relay::inspect {
namespace {

constexpr std::string_view kBytes = "Bytes on the connection";
constexpr std::string_view kLife = "The life of an exchange";
constexpr std::string_view kBlock = "The start block";
constexpr std::string_view kCredit = "Credit";
constexpr std::string_view kWaiting = "Waiting";

constexpr std::array<RuleInfo, kRuleCount> kRules = {{
    {"none", "", ""},

    {"bad_preface", "a connection opens with the 8 bytes \"RELAY/1\\n\"", kBytes},
    {"before_hello", "the first frame of a client is HELLO", kBytes},
    {"second_hello", "a connection has one HELLO", kBytes},
    {"before_welcome", "a server begins with WELCOME, or GOAWAY", kBytes},
    {"second_welcome", "a connection has one WELCOME", kBytes},
    {"server_frame", "WELCOME and MIRROR are the server's to send", kBytes},
    {"client_frame", "HELLO, JOIN and OBSERVE are the client's to send", kBytes},
    {"observer_role", "an observer, and nobody else, sends OBSERVE; it joins no client", "Observers"},
    {"bad_version", "the version of HELLO is 1", kBytes},
    {"bad_header", "what stands here is no header", kBytes},
    {"payload_too_large", "a payload has at most max_payload_bytes", kBytes},
    {"hello_too_large", "HELLO has at most 4,072 bytes", kBytes},
    {"payload_before_welcome", "until WELCOME has come, a client counts on 64 KiB of payload", kBytes},
    {"malformed", "the payload does not parse as its type's message", kBytes},
    {"bad_start", "", kBlock},
    {"slot_bound", "a slot is bound to one client at a time", kBytes},
    {"slot_leaving", "a slot may be bound again when the echo of LEAVE has come", kBytes},
    {"channel_name", "the channel's name gives its id", "Words"},
    {"limits", "the limits of WELCOME are not below the smallest allowed", "Limits, as WELCOME tells them"},
    {"nil_reset", "only the server sends a RESET of the nil id", kBytes},
    {"after_fault", "the GOAWAY of a protocol error is the last frame", kBytes},
    {"receive_handed_on", "the server clears RECEIVE when it hands a frame on", kBytes},

    {"slot_not_joined", "no client is joined on this slot", kBytes},
    {"slot_busy", "a slot that waits or is busy begins no other operation", kBlock},
    {"connection_leaving", "the connection has said GOAWAY: no new operation", kBytes},
    {"before_echo", "until the echo of a withdrawal has come, there is no other RECEIVE", kWaiting},
    {"id_live", "a request with this id is live on the channel", kBytes},
    {"not_waiting", "the server answers a RECEIVE on a slot that waits, and on no other", kWaiting},
    {"no_withdrawal", "the echo of a withdrawal answers one", kWaiting},
    {"attempt", "attempts count from 1", kBlock},

    {"second_start", "a stream has one START", kBytes},
    {"not_started", "a stream begins with START", kBytes},
    {"after_end", "nothing comes after the end of a stream", kBytes},
    {"start_too_large", "Start has at most max_start_bytes", kBytes},
    {"end_too_large", "the payload of END has at most max_start_bytes", kBytes},
    {"window_overrun", "a stream costs no more than its window", kCredit},
    {"window_too_far", "WINDOW reaches at most max_window_bytes beyond what the stream has cost", kCredit},
    {"not_assigned", "a request's frames go to the receiver that it was handed to, and to nobody else", kLife},
    {"not_begun", "a frame of an exchange that this slot never had a part in", kLife},
    {"wrong_way", "a stream runs from its sender to its receiver", kLife},
}};

}  // namespace

const RuleInfo& InfoOf(Rule rule) { return kRules[static_cast<size_t>(rule)]; }

}  // namespace relay::inspect
