// Pages of collections and concepts: folds, and changes that lead to another page.

import { emit, find, findAll, send } from './dom.js'
import { bind } from './keys.js'
import { parse, session } from './storage.js'
import { toast, toastErrors } from './toast.js'

const TOAST_KEY = 'laionweb:passing' // a toast that the next page shows

// -- folds

function closeFolds (except = null) {
  let closed = false
  for (const fold of findAll('details.fold[open]')) {
    if (fold === except) continue
    const hadFocus = fold.contains(document.activeElement)
    fold.open = false
    if (hadFocus) find('summary', fold).focus()
    closed = true
  }
  return closed
}

document.addEventListener('click', ({ target }) => closeFolds(target.closest?.('details.fold')))
bind('Escape', 'Close what is open', () => find('dialog:modal') ? false : closeFolds())

/** Open the fold that the address links to. */
function openLinked () {
  const linked = document.getElementById(location.hash.slice(1))
  if (linked?.matches('details.fold')) linked.open = true
}

addEventListener('hashchange', openLinked)
document.addEventListener('click', ({ target }) => {
  // A link to the current address does not change the hash.
  if (target.closest?.('a[href^="#"]')) setTimeout(openLinked)
})
openLinked()

for (const select of findAll('select[data-submits]')) {
  select.addEventListener('change', () => select.form.requestSubmit())
}

// -- changes with an undo that lead to another page

document.addEventListener('submit', (event) => {
  const form = event.target.closest('form[data-undoable]')
  if (!form) return
  event.preventDefault()
  toastErrors(() => submit(form, event.submitter))
})

async function submit (form, button) {
  if (button) button.disabled = true
  try {
    const answer = await send(form.action, Object.fromEntries(new FormData(form)), { seconds: 120 })
    // Signed out meanwhile: the browser follows the redirect to the sign-in page.
    if (!answer.to) return form.submit()
    // Without storage there is no toast; “Recently deleted” still offers the undo.
    session.set(TOAST_KEY, JSON.stringify(answer.toast))
    if (new URL(answer.to, location.href).pathname === location.pathname) location.reload()
    else location.assign(answer.to)
  } finally {
    if (button) button.disabled = false
  }
}

const passed = parse(session.take(TOAST_KEY))
if (passed) toast({ ...passed, after: () => location.reload() })

// -- images that fail to load

document.addEventListener('error', ({ target }) => {
  if (target instanceof HTMLImageElement) target.closest('.tile')?.classList.add('lost')
}, true)
for (const image of findAll('.tile img')) {
  if (image.complete && image.currentSrc && !image.naturalWidth) image.closest('.tile').classList.add('lost')
}

// -- further pages of a list

document.addEventListener('htmx:afterSettle', () => emit('settled'))
