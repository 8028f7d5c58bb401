-- A thousand keys in one request.
local keys = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "keys.lua")
local headers = { ["Content-Type"] = "application/json" }
local ready, turn = {}, 0
function init()
  for batch = 0, 9 do
    local items = {}
    for i = 0, 999 do
      items[i + 1] = string.format('"%s":"%s"', keys.name(batch * 1000 + i), keys.value)
    end
    ready[batch] = wrk.format("POST", "/batch/kv/set", headers, '{"items":{' .. table.concat(items, ",") .. "}}")
  end
end
function request()
  turn = (turn + 1) % 10
  return ready[turn]
end
