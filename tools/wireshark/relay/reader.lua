-- One direction of a connection, from the bytes of packets to frames, and to a word about those that are no part of
-- one: `relay inspect`'s tools/inspect/frame_reader.h, as far as a packet lets one see.

local PREFACE = "RELAY/1\n"
local PLAUSIBLE_PAYLOAD_BYTES = 16 * 1024 * 1024  -- what a header may say where no WELCOME was seen
local UNKNOWN_GAP_BYTES = 2 ^ 30
local SMALLEST_MAX_START_BYTES, BLOCK_BYTES, MIRROR_BYTES = 4096, 40, 56

-- What a payload of a type may have: at least, and at most.
local PAYLOAD_BYTES = {
  PING = { 8, 8 }, PONG = { 8, 8 }, WINDOW = { 8, 8 }, EXTEND = { 4, 4 }, START = { BLOCK_BYTES },
  HELLO = { 1, SMALLEST_MAX_START_BYTES }, WELCOME = { 1, SMALLEST_MAX_START_BYTES },
  JOIN = { 1, SMALLEST_MAX_START_BYTES }, MIRROR = { MIRROR_BYTES },
}

local function number(raw, at, bytes)
  local value = 0
  for i = at, at + bytes - 1 do value = value * 256 + raw:byte(i) end
  return value
end

local Reader = {}
Reader.__index = Reader

-- `header` is header.lua. Where the direction was not seen from its start, it may begin inside of a frame.
local function new(header, to_server, from_start)
  local state = from_start and (to_server and "preface" or "frames") or "seeking"
  return setmetatable({ header = header, to_server = to_server, state = state, offset = 0,
    behind = 0 }, Reader)  -- bytes of a packet that are missing behind the frame that is cut
end

-- A packet of this direction with `bytes` of TCP payload, which begin at sequence number `seq`. False where bytes
-- before it are missing.
function Reader:take_packet(seq, bytes)
  local ending = (seq + bytes) % 2 ^ 32
  local last = self.ending or seq
  local missing, ahead = (seq - last) % 2 ^ 32, (ending - last) % 2 ^ 32
  self.was_seen = ahead == 0 or ahead >= 2 ^ 31
  if self.was_seen then return true end
  self.seq, self.ending = seq, ending
  -- TCP has put together what was waited for.
  if missing == 0 or missing >= 2 ^ 31 or self.waits or self.state == "payload" then return true end
  -- Of as many as no window reaches, `relay inspect --write` did not know how many they were.
  if missing < UNKNOWN_GAP_BYTES then self.offset = self.offset + missing end
  if self.state ~= "dead" then self.state = "seeking" end
  return false
end

-- What stands in `raw` at `at`, from 1 on: {kind, bytes, offset} with the kind "preface", "frame", "payload" (more of
-- a frame that was cut), "damage" (with the rule), "skipped", "again" (they were seen before), or "wait", for so many
-- bytes more. Of a packet that was cut `reported` bytes passed. `is_blind` where what follows is not known, and
-- `is_blind_behind` where what follows the frame is not.
function Reader:next(raw, at, reported)
  if self.was_seen then return { kind = "again", bytes = #raw - at + 1 } end
  local step = self["of_" .. self.state](self, raw, at, reported)
  step.offset = self.offset
  self.waits = step.kind == "wait"
  if step.kind ~= "wait" and step.kind ~= "payload" then self.offset = self.offset + step.bytes end
  self.offset = self.offset + self.behind
  self.behind = 0
  return step
end

function Reader:of_preface(raw, at, reported)
  local found = raw:sub(at, at + #PREFACE - 1)
  if found ~= PREFACE:sub(1, #found) then
    self.state = "dead"
    return { kind = "damage", is_blind = true, rule = "bad_preface", bytes = #raw - at + 1 }
  end
  if #found < #PREFACE then return self:wait(raw, at, reported, DESEGMENT_ONE_MORE_SEGMENT) end
  self.state = "frames"
  return { kind = "preface", bytes = #PREFACE }
end

function Reader:of_frames(raw, at, reported)
  local left = #raw - at + 1
  if left < self.header.BYTES then return self:wait(raw, at, reported, DESEGMENT_ONE_MORE_SEGMENT) end
  local payload_bytes = number(raw, at, 4)
  if payload_bytes > (self.max_payload_bytes or PLAUSIBLE_PAYLOAD_BYTES) then
    self.state = "dead"
    return { kind = "damage", is_blind = true, rule = "payload_too_large", bytes = left, said_bytes = payload_bytes,
      limit_bytes = self.max_payload_bytes }
  end
  local bytes = self.header.BYTES + payload_bytes
  if left < bytes then
    if reported == #raw then return self:wait(raw, at, reported, bytes - left) end
    local left_of_packet = reported - at + 1
    if bytes < left_of_packet then
      self.state, self.behind = "seeking", left_of_packet - bytes
      return { kind = "frame", bytes = bytes, is_blind_behind = true }
    end
    if bytes > left_of_packet then
      self.state, self.payload_ends = "payload", (self.ending + bytes - left_of_packet) % 2 ^ 32
    end
  end
  return { kind = "frame", bytes = bytes }
end

-- Further packets of a payload whose first one was cut.
function Reader:of_payload(raw, _, reported)
  local rest = (self.payload_ends - self.seq) % 2 ^ 32
  if rest >= 2 ^ 31 then rest = 0 end
  if rest <= #raw then
    self.state = "frames"
  elseif rest < reported then
    self.state, self.behind = "seeking", reported - rest
    return { kind = "payload", bytes = #raw, is_blind_behind = true }
  end
  return { kind = "payload", bytes = math.min(rest, #raw) }
end

function Reader:of_seeking(raw, at, reported)
  local last = #raw - self.header.BYTES + 1
  local found = at
  while found <= last do
    found = raw:find("\0", found, true) or last + 1
    if found <= last and self:is_plausible(raw, found) then
      self.state = "frames"
      return { kind = "skipped", bytes = found - at }
    end
    found = found + 1
  end
  if reported > #raw then return { kind = "skipped", bytes = reported - at + 1 } end
  if at <= last then return { kind = "skipped", bytes = last - at + 1 } end
  return self:wait(raw, at, reported, DESEGMENT_ONE_MORE_SEGMENT)
end

function Reader:of_dead(raw, at)
  return { kind = "skipped", bytes = #raw - at + 1 }
end

-- What is missing comes with the next packet, or was cut when it was captured.
function Reader:wait(raw, at, reported, bytes)
  if reported == #raw then return { kind = "wait", bytes = bytes } end
  self.state = "seeking"
  return { kind = "skipped", is_blind = true, bytes = reported - at + 1 }
end

function Reader:is_plausible(raw, at)
  local payload_bytes, name = number(raw, at, 4), self.header.TYPES[raw:byte(at + 4)]
  if payload_bytes > (self.max_payload_bytes or PLAUSIBLE_PAYLOAD_BYTES) or not name then return false end
  local may_have = PAYLOAD_BYTES[name] or {}
  if payload_bytes < (may_have[1] or 0) or payload_bytes > (may_have[2] or math.huge) then return false end
  local is_wrong_way
  if self.to_server then is_wrong_way = name == "WELCOME" else is_wrong_way = name == "HELLO" or name == "JOIN" end
  local has_id = raw:sub(at + 8, at + 23):find("[^\0]") ~= nil
  return not is_wrong_way and not self.header.fault(name, raw:byte(at + 5), number(raw, at + 6, 2), has_id)
end

return { PREFACE = PREFACE, new = new }
