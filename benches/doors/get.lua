local keys = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "keys.lua")
local pick
function init()
  pick = keys.pick(function(i) return wrk.format("GET", "/kv/" .. keys.name(i), keys.headers()) end)
end
function request() return pick() end
