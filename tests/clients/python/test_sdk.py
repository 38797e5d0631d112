"""What a CRM integration does with Dialpad's SDK for Python, against the simulator."""

import asyncio
import time
import unittest
from urllib.parse import parse_qs, urlsplit

import requests
from dialpad import DialpadClient
from dialpad.async_client import AsyncDialpadClient

from simulator import API_KEY, COLLEAGUE, CUSTOMER, DOCUMENTED_USER, USER, Receiver, Simulator, eventually


class SdkTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.simulator = Simulator()
        cls.receiver = Receiver()
        cls.dialpad = DialpadClient(API_KEY, base_url=cls.simulator.url)
        webhook = cls.dialpad.webhooks.create({'hook_url': cls.receiver.url, 'secret': 'hush'})
        cls.webhook_id = webhook['id']
        cls.dialpad.call_event_subscriptions.create({'endpoint_id': webhook['id'], 'call_states': ['all']})
        cls.dialpad.sms_event_subscriptions.create({'endpoint_id': webhook['id'], 'direction': 'all', 'status': True})

    @classmethod
    def tearDownClass(cls):
        cls.simulator.stop()
        cls.receiver.stop()

    def is_refused(self, status, call, *args, **kwargs):
        with self.assertRaises(requests.HTTPError) as refused:
            call(*args, **kwargs)
        self.assertEqual(refused.exception.response.status_code, status)

    def place(self, user_id=USER):
        """Places a call, and returns its id once the customer has answered."""
        order = {'user_id': user_id, 'phone_number': CUSTOMER, 'custom_data': 'order-17'}
        self.simulator.control('PATCH', '/switches', {'placed_call_pace': 0.1})
        call_id = self.dialpad.calls.initiate_ring_call(order)['call_id']
        self.wait_for(call_id, 'connected')
        return call_id

    def wait_for(self, call_id, state):
        eventually(f'{call_id} is {state}', lambda: state in self.receiver.states_of(call_id))

    def successor_of(self, call_id, user_id):
        """Returns the leg that a call was transferred to."""
        source = next(event for event in self.receiver.received if event.get('call_id') == int(call_id))

        def find():
            return next(
                (
                    event
                    for event in self.receiver.received
                    if event.get('transferred_from', {}).get('id') == source['target']['id']
                    and event['event_timestamp'] >= source['event_timestamp']
                    and event['target']['id'] == user_id
                ),
                None,
            )

        return eventually('the successor', find)['call_id']


class Account(SdkTest):
    def test_a_company_and_its_directory(self):
        me = self.dialpad.users.get('me')
        self.assertEqual(me['id'], str(USER))
        self.assertEqual(me['company_id'], self.dialpad.company.get()['id'])
        users = list(self.dialpad.users.list())
        self.assertEqual({str(USER), str(COLLEAGUE), str(DOCUMENTED_USER)} - {user['id'] for user in users}, set())
        for user in users:
            self.assertEqual(self.dialpad.users.get(user['id']), user)
            self.assertEqual([user], list(self.dialpad.users.list(email=user['emails'][0])))
            self.assertEqual([user], list(self.dialpad.users.list(number=user['phone_numbers'][0])))
        self.assertEqual([me], list(self.dialpad.users.list(company_admin=True, state='active')))
        self.assertEqual([], list(self.dialpad.users.list(state='suspended')))
        self.is_refused(404, self.dialpad.users.get, '7')
        offices = list(self.dialpad.offices.list())
        self.assertEqual([me['office_id']], [office['id'] for office in offices])
        self.assertEqual(self.dialpad.offices.get(offices[0]['id']), offices[0])
        for groups, listed in [
            (self.dialpad.call_centers, self.dialpad.offices.list_call_centers),
            (self.dialpad.departments, self.dialpad.offices.list_departments),
        ]:
            [group] = groups.list()
            self.assertEqual([group], list(listed(offices[0]['id'])))
            self.assertEqual(groups.get(group['id']), group)
            self.assertEqual(len(groups.list_operators(group['id'])['users']), len(users))
            self.assertEqual([], list(groups.list(name_search='no such name')))
        self.assertEqual(len(list(self.dialpad.numbers.list())), len(users) + 3)
        self.assertEqual(self.dialpad.numbers.get(me['phone_numbers'][0])['target_id'], me['id'])
        formatted = self.dialpad.numbers.format_number(number='(415) 555-1234')
        self.assertEqual(formatted['e164_number'], CUSTOMER)
        [device] = self.dialpad.user_devices.list(user_id=me['id'])
        self.assertEqual(self.dialpad.user_devices.get(device['id']), device)
        self.assertIs(self.dialpad.app_settings.get()['enabled'], True)
        self.assertIs(self.dialpad.app_settings.get(target_type='user', target_id=USER)['enabled'], True)

    def test_what_is_done_to_a_user(self):
        popped = self.dialpad.users.trigger_screenpop(USER, {'screen_pop_uri': 'https://crm.example/contacts/7'})
        self.assertEqual(popped['device']['user_id'], str(USER))
        self.is_refused(400, self.dialpad.users.trigger_screenpop, USER, {'screen_pop_uri': 'https://a:b@crm.example'})
        self.assertIs(self.dialpad.users.toggle_dnd('me', {'do_not_disturb': True})['do_not_disturb'], True)
        self.assertIs(self.dialpad.users.get('me')['do_not_disturb'], True)
        self.dialpad.users.toggle_dnd('me', {'do_not_disturb': False})
        self.dialpad.users.update_user_status(COLLEAGUE, {'status_message': 'At lunch', 'expiration': 3600})
        self.assertEqual(self.dialpad.users.get(COLLEAGUE)['status_message'], 'At lunch')
        self.dialpad.users.set_caller_id(COLLEAGUE, {'caller_id': '+14155550190'})
        self.assertEqual(self.dialpad.users.get_caller_id(COLLEAGUE)['caller_id'], '+14155550190')

    def test_contacts_are_created_found_changed_and_deleted(self):
        listed = len(list(self.dialpad.contacts.list()))
        made = self.dialpad.contacts.create({'first_name': 'Vera', 'last_name': 'Holm', 'phones': ['+14155557777']})
        self.assertEqual(made['primary_phone'], '+14155557777')
        uid = {'uid': 'crm-7', 'first_name': 'Wim', 'last_name': 'Bos'}
        twice = [self.dialpad.contacts.create_or_update({**uid, 'job_title': title}) for title in ('Clerk', 'Head')]
        self.assertEqual(twice[0]['id'], twice[1]['id'])
        self.assertEqual(self.dialpad.contacts.get(twice[0]['id'])['job_title'], 'Head')
        self.assertEqual(len(list(self.dialpad.contacts.list())), listed + 2)
        changed = self.dialpad.contacts.partial_update(made['id'], {'company_name': 'Holm & Co'})
        self.assertEqual((changed['company_name'], changed['first_name']), ('Holm & Co', 'Vera'))
        for contact in (made, twice[0]):
            self.dialpad.contacts.delete(contact['id'])
            self.is_refused(404, self.dialpad.contacts.get, contact['id'])

    def test_webhooks_websockets_and_subscriptions_have_a_whole_life(self):
        webhook = self.dialpad.webhooks.create({'hook_url': 'https://crm.example/hook', 'secret': 's'})
        self.assertEqual(webhook['signature']['secret'], 's')
        moved = self.dialpad.webhooks.partial_update(webhook['id'], {'hook_url': 'https://crm.example/other'})
        self.assertEqual(self.dialpad.webhooks.get(webhook['id']), moved)
        websocket = self.dialpad.websockets.create({'secret': 's'})
        self.assertTrue(websocket['websocket_url'].startswith('ws'))
        on_websocket = self.dialpad.call_event_subscriptions.create({'endpoint_id': websocket['id']})
        self.dialpad.call_event_subscriptions.delete(on_websocket['id'])
        self.dialpad.websockets.delete(websocket['id'])
        endpoint = {'endpoint_id': webhook['id']}
        for subscriptions, order in [
            (self.dialpad.call_event_subscriptions, {'call_states': ['hangup'], 'group_calls_only': True}),
            (self.dialpad.sms_event_subscriptions, {'direction': 'inbound'}),
            (self.dialpad.agent_status_event_subscriptions, {'agent_type': 'callcenter'}),
            (self.dialpad.contact_event_subscriptions, {'contact_type': 'shared'}),
            (self.dialpad.changelog_event_subscriptions, {}),
        ]:
            made = subscriptions.create({**endpoint, **order})
            self.assertEqual(made['webhook']['id'], webhook['id'])
            self.assertIn(made, list(subscriptions.list()))
            paused = subscriptions.partial_update(made['id'], {'enabled': False})
            self.assertEqual(subscriptions.get(made['id']), {**made, 'enabled': False})
            self.assertEqual(subscriptions.delete(made['id']), paused)
            self.is_refused(404, subscriptions.get, made['id'])
        self.dialpad.webhooks.delete(webhook['id'])
        self.is_refused(404, self.dialpad.webhooks.get, webhook['id'])

    def test_oauth_by_the_sdk_alone(self):
        anonymous = DialpadClient('none', base_url=self.simulator.url)
        query = {
            'client_id': 'demo-client', 'redirect_uri': 'http://crm.example/callback', 'response_type': 'code',
            'scope': 'calls:list offline_access', 'state': 'x',
        }
        granted = requests.get(f'{self.simulator.url}/oauth2/authorize', params=query, allow_redirects=False)
        code = parse_qs(urlsplit(granted.headers['location']).query)['code'][0]
        client = {'client_id': 'demo-client', 'client_secret': 'demo-secret'}
        tokens = anonymous.oauth2.redeem_token({'grant_type': 'authorization_code', 'code': code, **client})
        refreshed = anonymous.oauth2.redeem_token(
            {'grant_type': 'refresh_token', 'refresh_token': tokens['refresh_token'], **client}
        )
        connected = DialpadClient(refreshed['access_token'], base_url=self.simulator.url)
        self.assertEqual(connected.users.get('me')['id'], str(USER))
        self.assertIsNone(connected.oauth2.deauthorize_token())
        self.is_refused(401, connected.users.get, 'me')


class History(SdkTest):
    def test_every_page_of_the_calls_is_listed(self):
        before = int(time.time() * 1000) - 3_600_000
        self.simulator.play('answered', calls=45)
        self.simulator.play('voicemail', calls=2)
        listed = list(self.dialpad.calls.list(started_after=before))
        self.assertGreaterEqual(len(listed), 47)
        self.assertEqual(len({call['call_id'] for call in listed}), len(listed))
        self.assertEqual(self.dialpad.calls.get(listed[0]['call_id']), listed[0])
        of_user = list(self.dialpad.calls.list(started_after=before, target_type='user', target_id=USER))
        self.assertTrue(0 < len(of_user) < len(listed))
        self.assertEqual([], list(self.dialpad.calls.list(started_after=int(time.time() * 1000) + 60_000)))
        self.is_refused(404, self.dialpad.calls.get, 7)

    def test_what_a_call_leaves_behind(self):
        self.simulator.play('answered')
        self.simulator.play('voicemail')
        calls = list(self.dialpad.calls.list())
        answered = next(call for call in calls if call.get('call_recording_share_links'))
        voicemail = next(call for call in calls if call.get('voicemail_share_link'))
        call_id = answered['call_id']
        spoken = self.dialpad.transcripts.get(call_id)['lines']
        self.assertIn('transcript', {line['type'] for line in spoken})
        self.assertTrue(self.dialpad.transcripts.get_url(call_id)['url'].startswith('http'))
        self.assertEqual(
            self.dialpad.calls.set_call_label(call_id, {'labels': ['sales', 'follow-up']})['labels'],
            ['sales', 'follow-up'],
        )
        self.assertEqual(self.dialpad.calls.get(call_id)['labels'], ['sales', 'follow-up'])
        self.assertIn('sales', self.dialpad.call_labels.list()['labels'])
        recap = self.dialpad.request(sub_path=f'/api/v2/call/{call_id}/ai_recap', params={'summary_format': 'short'})
        self.assertTrue(recap['summary'])
        self.is_refused(404, self.dialpad.request, sub_path=f'/api/v2/call/{voicemail["call_id"]}/ai_recap')
        for call in (answered, voicemail):
            self.share(call)
        review = self.dialpad.call_review_share_links.create({'call_id': call_id, 'privacy': 'company'})
        self.assertEqual(self.dialpad.call_review_share_links.get(review['id']), review)
        public = self.dialpad.call_review_share_links.update(review['id'], {'privacy': 'public'})
        self.assertEqual(public['privacy'], 'public')
        self.dialpad.call_review_share_links.delete(review['id'])
        self.is_refused(404, self.dialpad.call_review_share_links.get, review['id'])

    def share(self, call):
        [recording] = call['recording_details']
        order = {'recording_id': recording['id'], 'recording_type': recording['recording_type']}
        links = self.dialpad.recording_share_links
        link = links.create(order)
        self.assertEqual((link['privacy'], link['call_id']), ('owner', call['call_id']))
        self.assertEqual(links.get(link['id']), link)
        self.assertIn('text/html', requests.get(link['access_link']).headers['content-type'])
        public = links.update(link['id'], {'privacy': 'public'})
        self.assertEqual(requests.get(public['access_link']).headers['content-type'], 'audio/wav')
        self.is_refused(400, links.update, link['id'], {'privacy': 'friends'})
        self.assertEqual(links.delete(link['id'])['id'], link['id'])
        self.is_refused(404, links.get, link['id'])
        self.is_refused(404, links.create, {**order, 'recording_id': '12'})


class LiveCalls(SdkTest):
    def test_a_call_is_placed_recorded_and_hung_up(self):
        user = USER + 3  # No other test has a call of this user.
        call_id = self.place(user)
        on = self.dialpad.users.toggle_active_call_recording(user, {'is_recording': True})
        self.assertEqual(on, {'id': call_id, 'call_state': 'connected', 'is_recording': True})
        self.assertIs(self.dialpad.calls.get(call_id)['was_recorded'], True)
        self.dialpad.calls.hangup_call(call_id)
        self.wait_for(call_id, 'recording')
        self.assertEqual(self.receiver.states_of(call_id), ['calling', 'connected', 'hangup', 'recording'])
        self.assertEqual(self.dialpad.calls.get(call_id)['custom_data'], 'order-17')
        self.is_refused(400, self.dialpad.calls.hangup_call, call_id)
        self.is_refused(404, self.dialpad.users.toggle_active_call_recording, user, {'is_recording': True})

    def test_an_app_of_the_user_dials(self):
        started = self.dialpad.users.initiate_call('me', {'phone_number': CUSTOMER, 'custom_data': 'order-18'})
        self.assertEqual(started['device']['user_id'], str(USER))
        eventually('it rings', lambda: any(event.get('custom_data') == 'order-18' for event in self.receiver.received))
        self.dialpad.users.initiate_call(DOCUMENTED_USER, {'phone_number': CUSTOMER})
        self.is_refused(404, self.dialpad.users.initiate_call, '7', {'phone_number': CUSTOMER})

    def test_a_call_is_transferred_to_a_user(self):
        call_id = self.place()
        moved = self.dialpad.calls.transfer(call_id, {'to': {'target_type': 'user', 'target_id': COLLEAGUE}})
        self.assertEqual(moved['call_id'], call_id)
        self.wait_for(call_id, 'hangup')
        self.assertIs(self.dialpad.calls.get(call_id)['is_transferred'], True)
        self.wait_for(self.successor_of(call_id, COLLEAGUE), 'hangup')

    def test_a_call_is_transferred_to_a_number_a_group_a_voicemail_and_another_call(self):
        for to in ({'number': '+14155559999'}, {'target_type': 'callcenter', 'target_id': 5_300_000_000_000_000}):
            call_id = self.place(COLLEAGUE)
            self.dialpad.calls.transfer(call_id, {'to': to, 'custom_data': 'x'})
            self.wait_for(call_id, 'hangup')
        call_id = self.place(DOCUMENTED_USER)
        to_voicemail = {'to': {'target_type': 'user', 'target_id': COLLEAGUE}, 'transfer_state': 'voicemail'}
        self.assertEqual(self.dialpad.calls.transfer(call_id, to_voicemail)['transferred_to_state'], 'voicemail')
        eventually('a voicemail', lambda: any(e.get('state') == 'voicemail_uploaded' for e in self.receiver.received))
        first, second = self.place(), self.place()
        self.dialpad.calls.transfer(first, {'to': {'call_id': int(second)}})
        self.wait_for(first, 'hangup')
        self.wait_for(second, 'hangup')
        self.is_refused(400, self.dialpad.calls.transfer, first, {'to': {'number': CUSTOMER}})
        third = self.place()
        self.is_refused(400, self.dialpad.calls.transfer, third, {'to': {'number': '911'}})
        self.is_refused(404, self.dialpad.calls.transfer, third, {'to': {'target_type': 'user', 'target_id': 7}})

    def test_a_call_is_parked_and_taken_back_by_either_user(self):
        for user in (USER, COLLEAGUE):
            call_id = self.place()
            office = {'target_type': 'office', 'target_id': 5_527_348_325_810_176}
            self.is_refused(400, self.dialpad.calls.unpark, call_id, {'user_id': user})
            self.dialpad.calls.transfer(call_id, {'to': office, 'transfer_state': 'parked'})
            self.wait_for(call_id, 'parked')
            taken = self.dialpad.calls.unpark(call_id, {'user_id': user})['call_id']
            self.assertEqual(taken == call_id, user == USER)
            eventually('it is connected', lambda: self.receiver.states_of(taken)[-1:] == ['connected'])

    def test_a_participant_is_added(self):
        call_id = self.place()
        added = self.dialpad.calls.add_participant(call_id, {'participant': {'number': '+14155559999'}})['call_id']
        self.wait_for(added, 'connected')
        self.assertEqual(self.dialpad.calls.get(added)['external_number'], '+14155559999')
        self.assertNotIn('hangup', self.receiver.states_of(call_id))

    def test_a_text_is_sent_and_delivered(self):
        sent = self.dialpad.sms.send({'user_id': USER, 'to_numbers': [CUSTOMER], 'text': 'It is on its way \U0001f69a'})
        self.assertEqual((sent['message_status'], sent['to_numbers']), ('pending', [CUSTOMER]))

        def statuses():
            of_text = [event for event in self.receiver.received if event.get('id') == int(sent['id'])]
            return [event['message_status'] for event in of_text] == ['pending', 'delivered']

        eventually('it is delivered', statuses)
        self.is_refused(404, self.dialpad.sms.send, {'user_id': 7, 'to_numbers': [CUSTOMER], 'text': 'x'})


class Asynchronous(SdkTest):
    def test_the_asynchronous_client_reads_the_same(self):
        """It sends what is left out as an empty parameter."""
        self.simulator.play('answered', calls=22)

        async def run():
            dialpad = AsyncDialpadClient(API_KEY, base_url=self.simulator.url)
            users = [user async for user in dialpad.users.list(company_admin=True)]
            calls = [call async for call in dialpad.calls.list()]
            offices = [office async for office in dialpad.offices.list()]
            webhooks = [webhook async for webhook in dialpad.webhooks.list()]
            subscriptions = [one async for one in dialpad.call_event_subscriptions.list()]
            labels = await dialpad.call_labels.list()
            placed = await dialpad.calls.initiate_ring_call({'user_id': USER, 'phone_number': CUSTOMER})
            await asyncio.to_thread(self.wait_for, placed['call_id'], 'calling')
            await dialpad.calls.hangup_call(placed['call_id'])
            await dialpad._session.aclose()
            return users, calls, offices, webhooks, subscriptions, labels

        users, calls, offices, webhooks, subscriptions, labels = asyncio.run(run())
        self.assertEqual(users, list(self.dialpad.users.list(company_admin=True)))
        self.assertGreaterEqual(len(calls), 22)
        self.assertEqual(offices, list(self.dialpad.offices.list()))
        self.assertEqual([webhook['id'] for webhook in webhooks], [self.webhook_id])
        self.assertEqual(len(subscriptions), 1)
        self.assertEqual(labels, self.dialpad.call_labels.list())


if __name__ == '__main__':
    unittest.main()
