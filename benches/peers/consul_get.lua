-- `stale`, as Konsul's default: answered from the local state.
local keys = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "../doors/keys.lua")
local pick
function init()
  pick = keys.pick(function(i) return wrk.format("GET", "/v1/kv/" .. keys.name(i) .. "?stale") end)
end
function request() return pick() end
