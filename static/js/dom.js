// What all modules use: the page's elements, events between modules, and requests.

export const find = (selector, within = document) => within.querySelector(selector)
export const findAll = (selector, within = document) => [...within.querySelectorAll(selector)]

/** Send an event to the other modules. README.md in this folder lists all events. */
export function emit (name, detail = {}) {
  document.dispatchEvent(new CustomEvent(`laionweb:${name}`, { detail }))
}

export function listen (name, listener) {
  document.addEventListener(`laionweb:${name}`, ({ detail }) => listener(detail ?? {}))
}

/** A request that failed. The message is a sentence for the user; no answer: status 0. */
export class RequestError extends Error {
  constructor (message, status) {
    super(message)
    this.status = status
  }
}

const MAX_KEEPALIVE = 60_000 // bytes; browsers allow 64 KiB for all such requests
const UNREACHABLE = 'The server did not answer. Please try again.'

/**
 * Send `data` as a form would, with the CSRF token of the page. Returns JSON, parsed, or
 * text. Throws RequestError, with the server's `detail` where it gives one.
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
      // The request outlives a page that the user leaves.
      keepalive: body.toString().length < MAX_KEEPALIVE,
      signal: AbortSignal.timeout(seconds * 1000)
    })
  } catch {
    throw new RequestError(UNREACHABLE, 0)
  }
  const isJson = answer.headers.get('Content-Type')?.includes('json')
  const content = isJson ? await answer.json() : await answer.text()
  if (!answer.ok) throw new RequestError((isJson && content.detail) || UNREACHABLE, answer.status)
  return content
}
