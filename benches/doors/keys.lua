-- Ten thousand keys of the benchmarks; requests are formatted once, so that wrk costs little while it measures.
local M = { count = 10000, value = string.rep("v", 100) }

function M.name(i)
  return string.format("bench/%05d", i)
end

-- Returns a function that picks one of the requests made by `make(i)`.
function M.pick(make)
  local ready = {}
  for i = 0, M.count - 1 do
    ready[i] = make(i)
  end
  return function()
    return ready[math.random(0, M.count - 1)]
  end
end

return M
