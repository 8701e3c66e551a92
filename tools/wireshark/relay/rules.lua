-- The rules of PROTOCOL.md that a trace can break: by the name that relayd and `relay inspect` give to each, its words
-- and the section where it stands. Words that differ from frame to frame are the frame's own.

local BYTES, LIFE, BLOCK = "Bytes on the connection", "The life of an exchange", "The start block"
local CREDIT, WAITING = "Credit", "Waiting"

return {
  bad_preface = { 'a connection opens with the 8 bytes "RELAY/1\\n"', BYTES },
  before_hello = { "the first frame of a client is HELLO", BYTES },
  second_hello = { "a connection has one HELLO", BYTES },
  before_welcome = { "a server begins with WELCOME, or GOAWAY", BYTES },
  second_welcome = { "a connection has one WELCOME", BYTES },
  server_frame = { "WELCOME and MIRROR are the server's to send", BYTES },
  client_frame = { "HELLO, JOIN and OBSERVE are the client's to send", BYTES },
  observer_role = { "an observer, and nobody else, sends OBSERVE; it joins no client", "Observers" },
  bad_version = { "the version of HELLO is 1", BYTES },
  bad_header = { "", BYTES },
  payload_too_large = { "a payload has at most max_payload_bytes", BYTES },
  hello_too_large = { "HELLO has at most 4,072 bytes", BYTES },
  payload_before_welcome = { "until WELCOME has come, a client counts on 64 KiB of payload", BYTES },
  malformed = { "the payload does not parse as its type's message", BYTES },
  bad_start = { "", BLOCK },
  slot_bound = { "a slot is bound to one client at a time", BYTES },
  slot_leaving = { "a slot may be bound again when the echo of LEAVE has come", BYTES },
  channel_name = { "the channel's name gives its id", "Words" },
  limits = { "the limits of WELCOME are not below the smallest allowed", "Limits, as WELCOME tells them" },
  nil_reset = { "only the server sends a RESET of the nil id", BYTES },
  after_fault = { "the GOAWAY of a protocol error is the last frame", BYTES },
  receive_handed_on = { "the server clears RECEIVE when it hands a frame on", BYTES },

  slot_not_joined = { "no client is joined on this slot", BYTES },
  slot_busy = { "a slot that waits or is busy begins no other operation", BLOCK },
  connection_leaving = { "the connection has said GOAWAY: no new operation", BYTES },
  before_echo = { "until the echo of a withdrawal has come, there is no other RECEIVE", WAITING },
  id_live = { "a request with this id is live on the channel", BYTES },
  not_waiting = { "the server answers a RECEIVE on a slot that waits, and on no other", WAITING },
  no_withdrawal = { "the echo of a withdrawal answers one", WAITING },
  attempt = { "attempts count from 1", BLOCK },

  second_start = { "a stream has one START", BYTES },
  not_started = { "a stream begins with START", BYTES },
  after_end = { "nothing comes after the end of a stream", BYTES },
  start_too_large = { "Start has at most max_start_bytes", BYTES },
  end_too_large = { "the payload of END has at most max_start_bytes", BYTES },
  window_overrun = { "a stream costs no more than its window", CREDIT },
  window_too_far = { "WINDOW reaches at most max_window_bytes beyond what the stream has cost", CREDIT },
  not_assigned = { "a request's frames go to the receiver that it was handed to, and to nobody else", LIFE },
  not_begun = { "a frame of an exchange that this slot never had a part in", LIFE },
  wrong_way = { "a stream runs from its sender to its receiver", LIFE },
}
