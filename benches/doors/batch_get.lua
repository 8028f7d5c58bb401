local keys = dofile((debug.getinfo(1, "S").source:sub(2):match("(.*/)") or "./") .. "keys.lua")
local headers = { ["Content-Type"] = "application/json" }
local ready, turn = {}, 0
function init()
  for batch = 0, 9 do
    local names = {}
    for i = 0, 999 do
      names[i + 1] = '"' .. keys.name(batch * 1000 + i) .. '"'
    end
    ready[batch] = wrk.format("POST", "/batch/kv/get", headers, '{"keys":[' .. table.concat(names, ",") .. "]}")
  end
end
function request()
  turn = (turn + 1) % 10
  return ready[turn]
end
