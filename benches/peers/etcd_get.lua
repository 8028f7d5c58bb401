local keys = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "../doors/keys.lua")
local base64 = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "base64.lua")
local headers = { ["Content-Type"] = "application/json" }
local pick
function init()
  pick = keys.pick(function(i)
    return wrk.format("POST", "/v3/kv/range", headers, '{"key":"' .. base64(keys.name(i)) .. '"}')
  end)
end
function request() return pick() end
