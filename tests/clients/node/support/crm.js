// A CRM in memory: its contacts, and the records that were created.

import { CALLER } from './call.js';

export class Crm {
  activities = [];
  calls = new Map();
  tasks = [];
  #contacts = new Map([[CALLER, { id: 'contact-1', name: 'John' }]]);

  findContactByPhone(number) {
    return this.#contacts.get(number);
  }

  createActivity(activity) {
    const created = { id: `activity-${this.activities.length + 1}`, ...activity };
    this.activities.push(created);
    return created;
  }

  createTask(task) {
    this.tasks.push(task);
  }

  createCall(call) {
    this.calls.set(call.dialpad_call_id, call);
    return call;
  }

  updateCall(id, changes) {
    this.calls.set(id, { ...this.calls.get(id), ...changes });
  }
}
