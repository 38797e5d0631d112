"""Five calls with the client of openapi-generator for Python."""

import os

import openapi_client as cti

CALL = int(os.environ['CTI_CALL'])
key = os.environ['CTI_API_KEY']
client = cti.ApiClient(cti.Configuration(host=os.environ['CTI_URL'], api_key={'api_key': key}))
calls = cti.CallsApi(client)

listed = calls.list_calls(limit=500)
assert CALL in [call.call_id.actual_instance for call in listed], listed
call = calls.get_call(str(CALL))
assert (call.call_id.actual_instance, call.status, call.outcome) == (CALL, 'ended', 'answered'), call
events = [event.actual_instance for event in cti.EventFeedApi(client).list_events(after=0, limit=1000)]
assert [e.type for e in events if getattr(e, 'call_id', None) and e.call_id.actual_instance == CALL][0] == 'call.ring'
order = cti.CallOrder(dialpad_user_id=cti.PositiveId(int(os.environ['CTI_USER'])), phone_number='+14155551234')
placed = calls.place_call(order)
assert placed.status == 'ringing' and placed.call_id.actual_instance > 2**31, placed
try:
    calls.get_call('12')
    raise AssertionError('there is no such call')
except cti.ApiException as error:
    assert (error.status, error.data.code) == (404, 'CALL_NOT_FOUND'), error
