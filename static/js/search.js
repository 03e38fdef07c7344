// The page searches without this script. It adds what htmx cannot know about the page;
// the parts of asking that are more than words have files of their own.

import { find, findAll, tell } from './dom.js'
import { bind } from './keys.js'
import { toast } from './toast.js'
import './chips.js'
import { fitPanel } from './panel.js'
import { showPreviews } from './picture.js'

const search = find('#search')
const box = find('#q')
const pictureForm = find('#picture')

// -- keyboard and choices

bind('/', 'Go to the search box', () => {
  box.focus()
  box.select()
})
bind('Escape', 'Close what is open', closeOptions)

function closeOptions () {
  for (const options of findAll('details.options[open], details.weight[open]')) {
    const held = options.contains(document.activeElement)
    options.open = false
    if (held) find('summary', options).focus()
  }
  return false // others may have something to close, too
}

document.addEventListener('click', (event) => {
  if (!event.target.closest('details.options, details.weight')) closeOptions()
})

/** The address is the truth about the search; the form follows it. */
function showAddressInForm () {
  const asked = new URLSearchParams(location.search)
  for (const input of search.elements) {
    const value = asked.get(input.name)
    if (['hidden', 'submit', 'button', 'fieldset'].includes(input.type)) continue
    if (['checkbox', 'radio'].includes(input.type)) {
      input.checked = value === null ? input.defaultChecked && input.type === 'radio' : value === input.value
    } else if (input.tagName === 'SELECT') input.value = value ?? find('option', input).value
    else input.value = value ?? ''
  }
  for (const [name, usual] of [['field', 'image'], ['nsfw', 'safe']]) {
    for (const radio of findAll(`[name=${name}]`)) radio.checked = radio.value === (asked.get(name) ?? usual)
  }
  const dataset = find('#results')?.dataset.dataset
  for (const choice of findAll('[name=dataset]')) if (dataset) choice.value = dataset
}

document.addEventListener('click', async ({ target }) => {
  if (!target.closest?.('.copy-link')) return
  const address = new URL(location)
  address.searchParams.delete('cursor')
  toast({ text: await copied(address.href) ? 'Link copied' : `Copy this: ${address.href}` })
})

async function copied (text) {
  try {
    await navigator.clipboard.writeText(text)
    return true
  } catch {
    // Without https there is only the old way.
    const field = document.createElement('textarea')
    field.value = text
    field.className = 'unseen'
    document.body.append(field)
    field.select()
    const done = document.execCommand('copy')
    field.remove()
    return done
  }
}

// -- results that arrive

function arrange () {
  for (const button of findAll('.copying, .chips .add')) button.hidden = false
  showPreviews()
  fitPanel()
  tell('settled')
}

const changesAll = (target) => !target.closest('.more, #exact-check')

document.addEventListener('htmx:beforeRequest', ({ detail }) => {
  if (detail.target.matches('#results')) find('#announcement').textContent = 'Searching'
  if (detail.target.matches('#exact-check')) detail.target.textContent = 'Comparing with every picture …'
})

// Who pressed Load more goes on at the first of the new pictures.
let lastSeen = null
document.addEventListener('htmx:beforeSwap', ({ detail: { target } }) => {
  const pressed = target.matches('.more') && target.contains(document.activeElement)
  lastSeen = pressed ? target.previousElementSibling : null
})
document.addEventListener('htmx:afterSwap', () => {
  if (lastSeen) find('a', lastSeen.nextElementSibling)?.focus({ preventScroll: true })
  lastSeen = null
})

document.addEventListener('htmx:afterSettle', ({ detail }) => {
  const asker = detail.requestConfig?.elt
  if (detail.requestConfig?.target?.matches('#exact-check')) return
  if (!asker?.closest?.('.more')) {
    // Another dataset has another panel.
    const { dataset } = find('#results').dataset
    if (dataset && dataset !== find('#panel')?.dataset.dataset) return location.reload()
    // Whoever typed on while waiting keeps what is in the box.
    const failed = find('#results .notice[role=alert]')
    if (asker !== search && !(asker === pictureForm && failed)) showAddressInForm()
    find('#announcement').textContent = find('#results .summary, #results .notice')?.textContent ?? ''
  }
  arrange()
})

document.addEventListener('htmx:historyRestore', () => {
  showAddressInForm()
  arrange()
})

// -- what goes wrong

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

// An answer that is no part of this page, such as a proxy's, or the page for status 500.
document.addEventListener('htmx:beforeSwap', ({ detail }) => {
  if (!detail.isError || detail.xhr.getResponseHeader('HX-Reswap') === 'none') return
  const answer = new DOMParser().parseFromString(detail.xhr.responseText, 'text/html')
  if (find('#results, .more, .hit, .exact', answer)) return
  detail.shouldSwap = false
  if (detail.target.matches('#exact-check')) detail.target.textContent = 'The exact search failed. Please try again.'
  else if (changesAll(detail.target)) showFailure(find('.notice', answer))
})

arrange()
