// What all our modules need of the page.

export const find = (selector, within = document) => within.querySelector(selector)
export const findAll = (selector, within = document) => [...within.querySelectorAll(selector)]

/** Tells the other modules: the events are listed in README.md of this folder. */
export function tell (name, detail = {}) {
  document.dispatchEvent(new CustomEvent(`laionweb:${name}`, { detail }))
}

export function heed (name, listener) {
  document.addEventListener(`laionweb:${name}`, ({ detail }) => listener(detail ?? {}))
}

/** An answer that is not what was asked for; its message is a sentence for the user. */
export class Refused extends Error {
  constructor (message, status) {
    super(message)
    this.status = status
  }
}

const KEPT_ALIVE = 60_000 // bytes, of the 64 kB that browsers allow
const UNREACHABLE = 'The server did not answer. Please try again.'

/**
 * Sends what a form would, with the CSRF token of the page; answers are JSON or HTML.
 * Throws Refused, with the server's sentence where it has one.
 */
export async function send (url, data = {}, { method = 'POST', seconds = 20 } = {}) {
  const body = new URLSearchParams()
  for (const [name, value] of Object.entries(data)) {
    for (const each of [value].flat()) body.append(name, each ?? '')
  }
  const token = find('meta[name=csrf-token]')?.content ?? ''
  let answer
  try {
    answer = await fetch(url, {
      method,
      body: method === 'GET' ? undefined : body,
      headers: { 'X-CSRFToken': token, 'X-Requested-With': 'XMLHttpRequest' },
      credentials: 'same-origin',
      // Whoever leaves the page right afterwards has it done all the same.
      keepalive: body.toString().length < KEPT_ALIVE,
      signal: AbortSignal.timeout(seconds * 1000)
    })
  } catch {
    throw new Refused(UNREACHABLE, 0)
  }
  const isJson = answer.headers.get('Content-Type')?.includes('json')
  const content = isJson ? await answer.json() : await answer.text()
  if (!answer.ok) throw new Refused((isJson && content.detail) || UNREACHABLE, answer.status)
  return content
}
