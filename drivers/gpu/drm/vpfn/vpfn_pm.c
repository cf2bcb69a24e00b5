// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * References that keep the device awake.
 */

#include <linux/pm_runtime.h>
#include <linux/sched.h>

#include "vpfn_drv.h"

/**
 * vpfn_pm_get - wake the device and keep it awake
 * @vdev: the device
 *
 * The task that suspends the device moves buffers out of VRAM, which takes jobs. It must not
 * wait for a resume.
 *
 * The caller drops the reference with pm_runtime_put_autosuspend().
 *
 * Return: 0 or a negative errno.
 */
int vpfn_pm_get(struct vpfn_device *vdev)
{
	if (READ_ONCE(vdev->suspending) == current) {
		pm_runtime_get_noresume(vdev->drm.dev);
		return 0;
	}
	return pm_runtime_resume_and_get(vdev->drm.dev);
}
