-- The payload messages of proto/PROTOCOL.md, and a reader of protobuf that is enough for them.

local STATUS = { [1] = { "code", "uint" }, [2] = { "message", "string" }, [3] = { "end", "string" },
  [4] = { "may_have_run", "bool" }, [5] = { "retry_after_ms", "uint" } }
local FIELD = { [1] = { "key", "string" }, [2] = { "value", "bytes" } }
local START = { [1] = { "method", "string" }, [2] = { "content_type", "string" }, [3] = { "metadata", FIELD, true } }
local MESSAGES = {
  HELLO = { [1] = { "version", "uint" }, [2] = { "agent", "string" }, [3] = { "token", "string" },
    [4] = { "observer", "bool" } },
  WELCOME = { [1] = { "server_id", "bytes" }, [2] = { "agent", "string" }, [3] = { "max_payload_bytes", "uint" },
    [4] = { "initial_window_bytes", "uint" }, [5] = { "max_window_bytes", "uint" },
    [6] = { "max_clients_per_connection", "uint" }, [7] = { "max_start_bytes", "uint" },
    [8] = { "heartbeat_interval_ms", "uint" }, [9] = { "heartbeat_misses", "uint" },
    [10] = { "max_attempts", "uint" } },
  JOIN = { [1] = { "client_id", "bytes" }, [2] = { "channel_id", "bytes" }, [3] = { "channel_name", "string" },
    [4] = { "key", "bytes" } },
  RECEIVE = { [1] = { "wait_ms", "uint" }, [2] = { "withdraw", "bool" } },
  LEAVE = STATUS,
  GOAWAY = STATUS,
  END = { [1] = { "status", STATUS }, [2] = { "metadata", FIELD, true } },
  RESET = { [1] = { "status", STATUS }, [2] = { "requeue", "bool" } },
  OBSERVE = { [1] = { "channel_id", "bytes" }, [2] = { "client_id", "bytes" }, [3] = { "request_id", "bytes" },
    [4] = { "snap_bytes", "uint" } },
}

local function is_utf8(text)
  local at = 1
  while at <= #text do
    local first = text:byte(at)
    local more, least
    if first < 0x80 then more, least = 0, 0
    elseif first >= 0xc2 and first < 0xe0 then more, least = 1, 0x80
    elseif first >= 0xe0 and first < 0xf0 then more, least = 2, 0x800
    elseif first >= 0xf0 and first < 0xf5 then more, least = 3, 0x10000
    else return false end
    if at + more > #text then return false end
    local point = more == 0 and first or first % 2 ^ (6 - more)
    for i = 1, more do
      local byte = text:byte(at + i)
      if byte < 0x80 or byte >= 0xc0 then return false end
      point = point * 64 + byte % 64
    end
    if point < least or point > 0x10ffff or (point >= 0xd800 and point < 0xe000) then return false end
    at = at + more + 1
  end
  return true
end

-- The number at `at`, exact up to 2^53 and modulo 2^32 in its low half, and what follows it; nothing where it is cut.
local function varint(bytes, at)
  local low, high, shift = 0, 0, 0
  for i = 0, 9 do
    local byte = at + i <= #bytes and bytes:byte(at + i)
    if not byte then return nil end
    if shift < 28 then low = low + byte % 128 * 2 ^ shift
    elseif shift == 28 then
      low = low + byte % 16 * 2 ^ 28
      high = math.floor(byte % 128 / 16)
    elseif shift < 63 then high = high + byte % 128 * 2 ^ (shift - 32) end
    if byte < 128 then return low, at + i + 1, high end
    shift = shift + 7
  end
  return nil
end

-- The message in `bytes`, which begin at `offset` of the payload; nothing where it is none. Values are
-- {value, offset, bytes}.
local function parse(spec, bytes, offset)
  local message = {}
  local at = 1
  while at <= #bytes do
    local start = at
    local key, high
    key, at, high = varint(bytes, at)
    if not key or key < 8 or high ~= 0 then return nil end
    local number, wire = math.floor(key / 8), key % 8
    local value
    local from = at
    if wire == 0 then
      local more
      value, at, more = varint(bytes, at)
      if not value then return nil end
      if spec[number] and spec[number][2] == "bool" then value = value ~= 0 or more ~= 0 end
    elseif wire == 1 or wire == 5 or wire == 2 then
      local size = wire == 1 and 8 or 4
      if wire == 2 then
        size, at, high = varint(bytes, at)
        if not size or high ~= 0 then return nil end
      end
      from = at
      at = at + size
      if at - 1 > #bytes then return nil end
      value = bytes:sub(from, at - 1)
    else
      return nil  -- groups: nobody writes them
    end
    local known = spec[number]
    local is_scalar = known and (known[2] == "uint" or known[2] == "bool")
    if known and (wire == 0) == (is_scalar and true or false) and (is_scalar or wire == 2) then
      if known[2] == "string" and not is_utf8(value) then return nil end
      local place = offset + from - 1
      if type(known[2]) == "table" then
        value = parse(known[2], value, place)
        if not value then return nil end
      end
      local entry = { value, offset + start - 1, at - start, place, at - from }
      if known[3] then
        message[known[1]] = message[known[1]] or {}
        table.insert(message[known[1]], entry)
      elseif type(known[2]) == "table" and message[known[1]] then
        for name, inner in pairs(value) do message[known[1]][1][name] = inner end
      else
        message[known[1]] = entry
      end
    end
  end
  return message
end

return { START = START, MESSAGES = MESSAGES, is_utf8 = is_utf8, parse = parse }
