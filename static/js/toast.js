// Toasts: short messages, with a button that undoes what they report.

import { find, listen, RequestError, send } from './dom.js'

const SHOWN_S = 8
let undoShown = null

/**
 * `undo` is a function, or {url, data} to post; `after` gets the answer to that. `link` is
 * the address of what the toast is about.
 */
export function toast ({ text, undo = null, after = null, link = '' }) {
  const shown = find('#toast').content.firstElementChild.cloneNode(true)
  find('p', shown).textContent = text
  const open = find('a', shown)
  if (link) open.href = link
  else open.remove()
  const button = find('button', shown)
  const close = () => {
    shown.remove()
    if (undoShown === press) undoShown = null
  }
  const press = () => {
    close()
    return toastErrors(async () => {
      if (typeof undo === 'function') await undo()
      else after?.(await send(undo.url, undo.data))
    })
  }
  if (undo) {
    button.addEventListener('click', press)
    undoShown = press
  } else button.remove()
  find('#toasts').replaceChildren(shown)
  setTimeout(close, SHOWN_S * 1000)
}

/** Run an action, and show the message of a request that failed. */
export async function toastErrors (action) {
  try {
    await action()
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    toast({ text: error.message })
  }
}

/** Undo what the toast on the page reports; return false when there is none. */
export function undoLast () {
  if (!undoShown) return false
  undoShown()
}

listen('toast', toast)
// Answers to htmx carry their toast in the header HX-Trigger.
document.addEventListener('htmx:afterOnLoad', ({ detail }) => {
  const header = detail.xhr.getResponseHeader('HX-Trigger')
  if (header?.startsWith('{')) {
    const options = JSON.parse(header)['laionweb:toast']
    if (options) toast(options)
  }
})
