// The command palette: go to a page or something saved, or press a button of the page.

import { find, findAll, RequestError, send } from './dom.js'
import { setTheme } from './site.js'

const MAX_SHOWN = 60
const ACTIONS = 'main button, main a.button, #selection button, .filters-button'
let dialog = null
let groups = [] // of the server: {title, entries: [{label, detail, address}]}
let entries = [] // those that are listed, in order
let chosen = 0

function build () {
  dialog = document.createElement('dialog')
  dialog.id = 'palette'
  dialog.ariaLabel = 'Go to'
  dialog.innerHTML = `<div>
    <input type="text" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-autocomplete="list" aria-label="Go to a page, or search images" placeholder="Go to a page, or search images" autocomplete="off" spellcheck="false">
    <div id="palette-list" role="listbox" aria-label="Places and actions"></div>
  </div>
  <form method="dialog"><button class="close" aria-label="Close" title="Close (Esc)">×</button></form>`
  document.body.append(dialog)
  const box = find('input', dialog)
  box.addEventListener('input', () => list(box.value))
  box.addEventListener('keydown', press)
  find('[role=listbox]', dialog).addEventListener('click', ({ target }) => {
    const option = target.closest('[role=option]')
    if (option) run(Number(option.dataset.place))
  })
}

/** The buttons of the page that can be pressed now, each name once. */
function actions () {
  const named = new Map()
  for (const button of findAll(ACTIONS)) {
    if (button.closest('.hit, dialog:not([open]), [inert]') || button.disabled || !button.checkVisibility()) continue
    const label = (button.ariaLabel || button.textContent).trim().replace(/\s+/g, ' ')
    if (label.length > 2 && !named.has(label)) named.set(label, { label, detail: '', run: () => button.click() })
  }
  const themes = ['light', 'dark', 'system'].map((theme) => ({ label: `Theme: ${theme}`, detail: '', run: () => setTheme(theme) }))
  const help = { label: 'Help', detail: '?', run: () => find('.help-button').click() }
  return [...named.values(), ...themes, help]
}

const matches = (words, { label, detail }) => {
  const text = `${label} ${detail}`.toLocaleLowerCase()
  return words.every((word) => text.includes(word))
}

function list (text) {
  const words = text.toLocaleLowerCase().split(/\s+/).filter(Boolean)
  const box = find('[role=listbox]', dialog)
  box.replaceChildren()
  entries = []
  const asked = text.trim()
  const search = asked && { title: 'Search', entries: [{ label: `Search images for “${asked}”`, detail: 'Enter', address: `/?${new URLSearchParams({ q: asked })}` }] }
  const page = { title: 'On this page', entries: pageActions }
  // What matches in name comes before the search, which always matches.
  const found = [...groups, page].map(({ title, entries }) => ({ title, entries: entries.filter((entry) => matches(words, entry)) }))
  for (const { title, entries: some } of [...found, search].filter((group) => group?.entries?.length)) {
    const left = MAX_SHOWN - entries.length
    if (left <= 0 && title !== 'Search') continue
    const heading = document.createElement('div')
    heading.className = 'group'
    heading.role = 'presentation'
    heading.textContent = title
    box.append(heading, ...some.slice(0, Math.max(left, 1)).map(option))
  }
  choose(0)
}

function option (entry) {
  const element = document.createElement('div')
  element.role = 'option'
  element.dataset.place = entries.push(entry) - 1
  element.id = `palette-${element.dataset.place}`
  for (const text of [entry.label, entry.detail]) {
    const part = document.createElement('span')
    part.dir = 'auto'
    part.textContent = text
    element.append(part)
  }
  return element
}

function choose (place) {
  const options = findAll('[role=option]', dialog)
  chosen = options.length ? (place + options.length) % options.length : 0
  options.forEach((each, index) => each.setAttribute('aria-selected', index === chosen))
  options[chosen]?.scrollIntoView({ block: 'nearest' })
  find('input', dialog).setAttribute('aria-activedescendant', options[chosen]?.id ?? '')
}

function press (event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
  if (step) choose(chosen + step)
  else if (event.key === 'Enter') run(chosen)
  else return
  event.preventDefault()
}

function run (place) {
  const entry = entries[place]
  if (!entry) return
  dialog.close()
  if (entry.run) entry.run()
  else location.assign(entry.address)
}

let pageActions = []

export async function open () {
  if (!dialog) build()
  if (dialog.open) return dialog.close()
  pageActions = actions()
  find('input', dialog).value = ''
  list('')
  dialog.showModal()
  try {
    groups = (await send('/palette', {}, { method: 'GET' })).groups
  } catch (error) {
    if (!(error instanceof RequestError)) throw error // the actions of the page are there without
  }
  if (dialog.open) list(find('input', dialog).value)
}
