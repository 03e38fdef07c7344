// Opens the viewer, which is loaded with the first item that is shown in it.

import { emit, find } from './dom.js'
import { hits, itemOf, keyOf } from './hits.js'
import './copy_buttons.js'

const dialog = find('#detail')
let loaded = null // the module

/** Resolve to the viewer once its styles are there. */
function viewer () {
  loaded ??= Promise.all([import('./viewer.js'), loadStyle(dialog.dataset.style)]).then(([module]) => module)
  return loaded
}

function loadStyle (href) {
  if (find(`link[href="${href}"]`)) return
  const link = document.createElement('link')
  link.rel = 'stylesheet'
  link.href = href
  return new Promise((resolve) => {
    link.onload = link.onerror = resolve
    document.head.append(link)
  })
}

const isPlain = (event) => !event.ctrlKey && !event.metaKey && !event.shiftKey && !event.altKey

document.addEventListener('click', async (event) => {
  const picture = event.target.closest?.('main .hit[data-item] a.picture')
  if (!picture || !isPlain(event) || !dialog?.showModal) return
  event.preventDefault()
  const hit = picture.closest('.hit')
  const { open } = await viewer()
  open(hit)
})

// Captured, because htmx would fetch the results again. The viewer, once it is loaded,
// handles what comes before it.
addEventListener('popstate', async (event) => {
  const key = event.state?.item
  if (!key || loaded) return
  event.stopImmediatePropagation()
  if (!hits().some((hit) => keyOf(hit) === key)) return location.reload()
  const { restore } = await viewer()
  restore(key)
}, true)

// Once all modules listen.
document.addEventListener('DOMContentLoaded', () => {
  const item = find('main > .item')
  if (item) emit('opened', itemOf(item))
})
