"""Five calls with the client of openapi-python-client."""

import os

from cti_server_client import Client
from cti_server_client.api.calls import get_call, list_calls, place_call
from cti_server_client.api.event_feed import list_events
from cti_server_client.models import CallOrder

CALL = int(os.environ['CTI_CALL'])
client = Client(base_url=os.environ['CTI_URL'], headers={'x-api-key': os.environ['CTI_API_KEY']})

assert CALL in [call.call_id for call in list_calls.sync(client=client, limit=500)]
call = get_call.sync(str(CALL), client=client)
assert (call.call_id, call.status, call.outcome) == (CALL, 'ended', 'answered'), call
events = list_events.sync(client=client, after=0, limit=1000)
assert [event.type_ for event in events if getattr(event, 'call_id', None) == CALL][0] == 'call.ring'
order = CallOrder(dialpad_user_id=int(os.environ['CTI_USER']), phone_number='+14155551234')
placed = place_call.sync(client=client, body=order)
assert placed.status == 'ringing' and placed.call_id > 2**31, placed
missing = get_call.sync('12', client=client)
assert missing.code == 'CALL_NOT_FOUND', missing
