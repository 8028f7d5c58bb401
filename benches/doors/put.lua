local keys = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "keys.lua")
local headers = keys.headers({ ["Content-Type"] = "application/json" })
local body = '{"value":"' .. keys.value .. '"}'
local pick
function init()
  pick = keys.pick(function(i) return wrk.format("PUT", "/kv/" .. keys.name(i), headers, body) end)
end
function request() return pick() end
