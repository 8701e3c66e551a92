-- How a channel's name becomes its id (proto/PROTOCOL.md, "Words"): UUIDv5, which is SHA-1, which Lua does not have.

local MOST_BYTES = 255

local function rotate(word, by)
  local high = math.floor(word / 2 ^ (32 - by))
  return word * 2 ^ by % 2 ^ 32 + high
end

-- Of bytes in words of 32 bits: five words.
local function sha1(text)
  local band, bor, bxor, bnot = bit.band, bit.bor, bit.bxor, bit.bnot
  local padded = text .. "\128" .. ("\0"):rep((55 - #text) % 64)
  local bits = #text * 8
  for shift = 56, 0, -8 do padded = padded .. string.char(math.floor(bits / 2 ^ shift) % 256) end
  local h = { 0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0 }
  for block = 1, #padded, 64 do
    local w = {}
    for i = 0, 15 do
      local b1, b2, b3, b4 = padded:byte(block + i * 4, block + i * 4 + 3)
      w[i] = ((b1 * 256 + b2) * 256 + b3) * 256 + b4
    end
    for i = 16, 79 do w[i] = rotate(bxor(w[i - 3], w[i - 8], w[i - 14], w[i - 16]) % 2 ^ 32, 1) end
    local a, b, c, d, e = h[1], h[2], h[3], h[4], h[5]
    for i = 0, 79 do
      local mixed, constant
      if i < 20 then mixed, constant = bor(band(b, c), band(bnot(b), d)), 0x5a827999
      elseif i < 40 then mixed, constant = bxor(b, c, d), 0x6ed9eba1
      elseif i < 60 then mixed, constant = bor(band(b, c), band(b, d), band(c, d)), 0x8f1bbcdc
      else mixed, constant = bxor(b, c, d), 0xca62c1d6 end
      a, b, c, d, e = (rotate(a, 5) + mixed % 2 ^ 32 + e + constant + w[i]) % 2 ^ 32, a, rotate(b, 30), c, d
    end
    for i, word in ipairs({ a, b, c, d, e }) do h[i] = (h[i] + word) % 2 ^ 32 end
  end
  return h
end

local function uuid_v5(namespace, name)
  local bytes = {}
  for _, word in ipairs(sha1(namespace .. name)) do
    for shift = 24, 0, -8 do bytes[#bytes + 1] = math.floor(word / 2 ^ shift) % 256 end
  end
  bytes[7] = bytes[7] % 16 + 0x50
  bytes[9] = bytes[9] % 64 + 0x80
  return string.char(table.unpack(bytes, 1, 16))
end

local NAMESPACE_URL = "\x6b\xa7\xb8\x11\x9d\xad\x11\xd1\x80\xb4\x00\xc0\x4f\xd4\x30\xc8"
local CHANNELS = uuid_v5(NAMESPACE_URL, "relay:channel")

local DIGITS = ("%x"):rep(4)
local SPELLED = "^" .. DIGITS .. table.concat({ DIGITS, DIGITS, DIGITS, DIGITS, DIGITS }, "%-") .. DIGITS:rep(2) .. "$"

-- The 16 bytes; nothing where `name`, which is UTF-8, is none.
local function id(name)
  if #name < 1 or #name > MOST_BYTES or name:find("[\1-\31\127]") or name:find("\0", 1, true)
    or name:find("\xc2[\x80-\x9f]") then
    return nil
  end
  if name:find(SPELLED) then
    return (name:gsub("-", ""):gsub("%x%x", function(digits) return string.char(tonumber(digits, 16)) end))
  end
  return uuid_v5(CHANNELS, name)
end

return { id = id }
