// Pages of collections: what folds open there, and what was done on the page before.

import { find, findAll, Refused, send, tell } from './dom.js'
import { bind } from './keys.js'
import { toast } from './toast.js'

const PASSING = 'laionweb:passing'

// -- what folds open

function closeFolds (but = null) {
  let closed = false
  for (const fold of findAll('details.fold[open]')) {
    if (fold === but) continue
    const held = fold.contains(document.activeElement)
    fold.open = false
    if (held) find('summary', fold).focus()
    closed = true
  }
  return closed
}

document.addEventListener('click', ({ target }) => closeFolds(target.closest?.('details.fold')))
bind('Escape', 'Close what is open', () => find('dialog:modal') ? false : closeFolds())

/** A link to a part of the page that is folded opens it. */
function openMeant () {
  const meant = document.getElementById(location.hash.slice(1))
  if (meant?.matches('details.fold')) meant.open = true
}

addEventListener('hashchange', openMeant)
document.addEventListener('click', ({ target }) => {
  // The same address once more is no change of it.
  if (target.closest?.('a[href^="#"]')) setTimeout(openMeant)
})
openMeant()

for (const select of findAll('select[data-submits]')) {
  select.addEventListener('change', () => select.form.requestSubmit())
}

// -- what can be undone, though it leads to another page

document.addEventListener('submit', async (event) => {
  const form = event.target.closest('form[data-undoable]')
  if (!form) return
  event.preventDefault()
  const button = event.submitter
  if (button) button.disabled = true
  try {
    const done = await send(form.action, Object.fromEntries(new FormData(form)), { seconds: 120 })
    // Not signed in any more: a form that is sent as such is led there.
    if (!done.to) return form.submit()
    pass(done.toast)
    if (new URL(done.to, location.href).pathname === location.pathname) location.reload()
    else location.assign(done.to)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    toast({ text: error.message })
  } finally {
    if (button) button.disabled = false
  }
})

function pass (told) {
  try {
    sessionStorage.setItem(PASSING, JSON.stringify(told))
  } catch {
    // Where storage is forbidden nothing is told; “Recently deleted” has it all the same.
  }
}

function tellPassed () {
  let told = null
  try {
    told = JSON.parse(sessionStorage.getItem(PASSING))
    sessionStorage.removeItem(PASSING)
  } catch {
    // As above.
  }
  if (told) toast({ ...told, after: () => location.reload() })
}

tellPassed()

// -- pictures that are gone

document.addEventListener('error', ({ target }) => {
  if (target instanceof HTMLImageElement) target.closest('.tile')?.classList.add('lost')
}, true)
for (const image of findAll('.tile img')) {
  if (image.complete && image.currentSrc && !image.naturalWidth) image.closest('.tile').classList.add('lost')
}

// -- more of them

document.addEventListener('htmx:afterSettle', () => tell('settled'))
