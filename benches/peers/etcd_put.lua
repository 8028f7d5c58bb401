local keys = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "../doors/keys.lua")
local base64 = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "base64.lua")
local headers = { ["Content-Type"] = "application/json" }
local pick
function init()
  local value = base64(keys.value)
  pick = keys.pick(function(i)
    local body = '{"key":"' .. base64(keys.name(i)) .. '","value":"' .. value .. '"}'
    return wrk.format("POST", "/v3/kv/put", headers, body)
  end)
end
function request() return pick() end
