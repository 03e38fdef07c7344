// What the page says in passing, with a way to undo it.

import { find, heed, Refused, send } from './dom.js'

const SHOWN_S = 8
let takeBack = null

/** `undo` is a function, or {url, data} that is posted; `after` runs when it is done. */
export function toast ({ text, undo = null, after = null }) {
  const shown = find('#toast').content.firstElementChild.cloneNode(true)
  find('p', shown).textContent = text
  const button = find('button', shown)
  const close = () => {
    shown.remove()
    if (takeBack === press) takeBack = null
  }
  const press = async () => {
    close()
    try {
      if (typeof undo === 'function') await undo()
      else after?.(await send(undo.url, undo.data))
    } catch (error) {
      if (!(error instanceof Refused)) throw error
      toast({ text: error.message })
    }
  }
  if (undo) {
    button.addEventListener('click', press)
    takeBack = press
  } else button.remove()
  find('#toasts').replaceChildren(shown)
  setTimeout(close, SHOWN_S * 1000)
}

/** Takes back what the last toast was about; false when there is nothing. */
export function undoLast () {
  if (!takeBack) return false
  takeBack()
}

heed('toast', toast)
// Answers to htmx tell their toast in the header HX-Trigger.
document.addEventListener('htmx:afterOnLoad', ({ detail }) => {
  const header = detail.xhr.getResponseHeader('HX-Trigger')
  if (header?.startsWith('{')) {
    const told = JSON.parse(header)['laionweb:toast']
    if (told) toast(told)
  }
})
