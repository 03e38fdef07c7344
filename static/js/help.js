// The help dialog: a tab for each section, and the keys of the page.

import { find, findAll } from './dom.js'
import { describeKeys } from './keys.js'

let dialog = null

async function load () {
  // The viewer binds keys when it is loaded.
  if (find('#detail')) await import('./viewer.js')
  const answer = await fetch(`${find('.help-button').href}?dialog=1`)
  if (!answer.ok) return location.assign(find('.help-button').href)
  document.body.insertAdjacentHTML('beforeend', await answer.text())
  dialog = find('#help')
  find('.no-keys', dialog).remove()
  const tabs = find('[role=tablist]', dialog)
  for (const section of findAll('[data-tab]', dialog)) tabs.append(tabOf(section))
  tabs.addEventListener('keydown', move)
}

function tabOf (section) {
  const tab = document.createElement('button')
  tab.type = 'button'
  tab.role = 'tab'
  tab.id = `tab-${section.dataset.tab}`
  tab.textContent = find('h2', section).textContent
  tab.addEventListener('click', () => show(section.dataset.tab))
  section.role = 'tabpanel'
  section.tabIndex = 0
  section.id = `panel-${section.dataset.tab}`
  section.setAttribute('aria-labelledby', tab.id)
  tab.setAttribute('aria-controls', section.id)
  return tab
}

const tabs = () => findAll('[role=tab]', dialog)

function move (event) {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
  if (!step) return
  event.preventDefault()
  event.stopPropagation()
  const all = tabs()
  const next = all[(all.indexOf(document.activeElement) + step + all.length) % all.length]
  next.click()
  next.focus()
}

function show (name) {
  for (const section of findAll('[data-tab]', dialog)) section.hidden = section.dataset.tab !== name
  for (const tab of tabs()) {
    tab.ariaSelected = tab.id === `tab-${name}`
    tab.tabIndex = tab.id === `tab-${name}` ? 0 : -1
  }
}

/** Show the dialog with one of its tabs. */
export async function open (name) {
  if (!dialog) await load()
  if (!dialog) return
  find('#keys', dialog).replaceChildren(...describeKeys())
  show(name)
  if (!dialog.open) dialog.showModal()
  find(`#tab-${name}`, dialog).focus()
}
