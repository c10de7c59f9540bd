-- A record of `unacked` is the text `[<message>,"","<queue as JSON>"]`, as kombu's own sweep expects it. It is spliced and
-- cut as text: decoding JSON here would cost more than the whole script and change numbers on the way.

local function to_record(raw, queue_json)
  return '[' .. raw .. ',"",' .. queue_json .. ']'
end

local function from_record(record, queue_json)
  return string.sub(record, 2, -(#queue_json + 6))
end

-- The priority step is the last part of a tag: `<process>:<n>:<step>`.
local LIST_OF_STEP = { ['0'] = 1, ['3'] = 2, ['6'] = 3, ['9'] = 4 }

local function list_offset(tag)
  return LIST_OF_STEP[string.match(tag, ':(%d)$') or '0'] or 1
end
