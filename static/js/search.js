// The search page works without this script. It keeps the form in line with the address,
// decorates results that arrive, and reports failures; chips, filters and images have
// modules of their own.

import { emit, find, findAll } from './dom.js'
import { copyText } from './clipboard.js'
import { bind } from './keys.js'
import { toast } from './toast.js'
import './chips.js'
import { changedFields, formIsSet } from './navigation.js'
import { fitPanel } from './panel.js'
import { showPreviews } from './query_images.js'

const search = find('#search')
const pictureForm = find('#picture')

// -- the first images of a site

const ARRIVAL_MS = 4000
if (find('.notice.arriving')) setTimeout(() => location.reload(), ARRIVAL_MS)

// -- keyboard and choices

bind('Escape', 'Close what is open', closeOptions)

function closeOptions () {
  for (const options of findAll('details.weight[open]')) {
    const hadFocus = options.contains(document.activeElement)
    options.open = false
    if (hadFocus) find('summary', options).focus()
  }
  return false // other modules may have something to close, too
}

document.addEventListener('click', (event) => {
  if (!event.target.closest('details.weight')) closeOptions()
})

/** Set the form to the search of the address, except for what was changed meanwhile. */
function showAddressInForm () {
  const asked = new URLSearchParams(location.search)
  const changed = changedFields()
  for (const input of search.elements) {
    const value = asked.get(input.name)
    if (changed.has(input.name) || ['hidden', 'submit', 'button', 'fieldset'].includes(input.type)) continue
    if (['checkbox', 'radio'].includes(input.type)) {
      input.checked = value === null ? input.defaultChecked && input.type === 'radio' : value === input.value
    } else if (input.tagName === 'SELECT') input.value = value ?? find('option', input).value
    else input.value = value ?? ''
  }
  for (const [name, standard] of [['field', 'image'], ['nsfw', 'safe']]) {
    if (changed.has(name)) continue
    for (const radio of findAll(`[name=${name}]`)) radio.checked = radio.value === (asked.get(name) ?? standard)
  }
  const dataset = find('#results')?.dataset.dataset
  for (const choice of findAll('[name=dataset]')) if (dataset) choice.value = dataset
  formIsSet(changed)
}

document.addEventListener('click', async ({ target }) => {
  if (!target.closest?.('.copy-link')) return
  const address = new URL(location)
  address.searchParams.delete('cursor')
  toast({ text: await copyText(address.href) ? 'Link copied' : `Copy this: ${address.href}` })
})

// -- new results

function arrange () {
  for (const button of findAll('.copying, .chips .add')) button.hidden = false
  showPreviews()
  fitPanel()
  emit('settled')
}

const changesAll = (target) => !target.closest('.more, #exact-check')

document.addEventListener('htmx:beforeRequest', ({ detail }) => {
  if (detail.target.matches('#results')) find('#announcement').textContent = 'Searching'
  if (detail.target.matches('#exact-check')) detail.target.textContent = 'Comparing with every image…'
})

// After Load more, the focus goes to the first of the new hits.
let lastHit = null
document.addEventListener('htmx:beforeSwap', ({ detail: { target } }) => {
  const pressed = target.matches('.more') && target.contains(document.activeElement)
  lastHit = pressed ? target.previousElementSibling : null
})
document.addEventListener('htmx:afterSwap', () => {
  if (lastHit) find('a', lastHit.nextElementSibling)?.focus({ preventScroll: true })
  lastHit = null
})

document.addEventListener('htmx:afterSettle', ({ detail }) => {
  const source = detail.requestConfig?.elt
  if (detail.requestConfig?.target?.matches('#exact-check')) return
  if (!source?.closest?.('.more')) {
    // Another dataset has another panel.
    const { dataset } = find('#results').dataset
    if (dataset && dataset !== find('#panel')?.dataset.dataset) return location.reload()
    const failed = find('#results .notice[role=alert]')
    if (!(source === pictureForm && failed)) showAddressInForm()
    find('#announcement').textContent = find('#results .summary, #results .notice')?.textContent ?? ''
  }
  arrange()
})

document.addEventListener('htmx:historyRestore', () => {
  showAddressInForm()
  arrange()
})

// -- failures

function showFailure (notice) {
  const results = find('#unreachable').content.cloneNode(true)
  if (notice) find('.notice', results).replaceWith(notice)
  find('#results').replaceWith(results)
}

for (const failure of ['htmx:sendError', 'htmx:timeout']) {
  document.addEventListener(failure, ({ detail: { target } }) => {
    if (target.matches('#exact-check')) target.textContent = 'The exact search did not answer in time.'
    else if (changesAll(target)) showFailure() // Load more stays, for another press
  })
}

// Errors that come as another page, such as a proxy's, or that for status 500.
document.addEventListener('htmx:beforeSwap', ({ detail }) => {
  if (!detail.isError || detail.xhr.getResponseHeader('HX-Reswap') === 'none') return
  const answer = new DOMParser().parseFromString(detail.xhr.responseText, 'text/html')
  if (find('#results, .more, .hit, .exact', answer)) return
  detail.shouldSwap = false
  if (detail.target.matches('#exact-check')) detail.target.textContent = 'The exact search failed. Please try again.'
  else if (changesAll(detail.target)) showFailure(find('.notice', answer))
})

arrange()
