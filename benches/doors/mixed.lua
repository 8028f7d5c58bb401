-- Nine reads to one write.
local keys = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "keys.lua")
local headers = { ["Content-Type"] = "application/json" }
local body = '{"value":"' .. keys.value .. '"}'
local get, put
function init()
  get = keys.pick(function(i) return wrk.format("GET", "/kv/" .. keys.name(i)) end)
  put = keys.pick(function(i) return wrk.format("PUT", "/kv/" .. keys.name(i), headers, body) end)
end
function request()
  if math.random(10) == 1 then return put() end
  return get()
end
