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

-- Headers of a request: these, and the one that KONSUL_BENCH_HEADER names, such as `X-API-Key: secret`. From the
-- environment, because everybody on the machine can read the arguments of a program.
function M.headers(own)
  local found = own or {}
  local name, value = (os.getenv("KONSUL_BENCH_HEADER") or ""):match("^([%w-]+): (.*)$")
  if name then found[name] = value end
  return found
end

return M
