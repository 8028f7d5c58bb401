-- RFC 4648 base64 of a string; Lua 5.1 has none, and etcd's gateway wants its keys that way.
local alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function letter(six)
  return alphabet:sub(six + 1, six + 1)
end

return function(text)
  local out = {}
  for at = 1, #text, 3 do
    local a, b, c = text:byte(at, at + 2)
    local bits = a * 65536 + (b or 0) * 256 + (c or 0)
    out[#out + 1] = letter(math.floor(bits / 262144))
    out[#out + 1] = letter(math.floor(bits / 4096) % 64)
    out[#out + 1] = b and letter(math.floor(bits / 64) % 64) or "="
    out[#out + 1] = c and letter(bits % 64) or "="
  end
  return table.concat(out)
end
